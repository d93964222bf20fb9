"""``stillroom evaluate``: how good a classifier is on labeled texts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from stillroom.cli import labeled_inputs as inputs
from stillroom.cli.options import command
from stillroom.cli.session import Session


def register(app: typer.Typer) -> None:
    """Adds the command to ``app``."""
    command(app, "evaluate")(evaluate)


def evaluate(
    session: Session,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="name, name@3 or name@alias.")],
    data: inputs.Data = None,
    data_path: inputs.DataPath = None,
    dataset: inputs.Dataset = None,
    dataset_split: inputs.DatasetSplit = None,
    text_column: inputs.TextColumn = None,
    label_column: inputs.LabelColumn = None,
    label_separator: inputs.LabelSeparator = None,
    delimiter: inputs.Delimiter = None,
    file_format: inputs.FileFormat = None,
    abstain_below: Annotated[
        float | None,
        typer.Option(help="Confidence below which a text is unsure; 0: never.", metavar="SHARE"),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(help="Multi-label: where every label begins to apply.", metavar="SHARE"),
    ] = None,
    truncate: Annotated[bool | None, typer.Option(help="Cut long texts.")] = None,
    confused_pairs: inputs.ConfusedPairs = None,
    examples_per_pair: inputs.ExamplesPerPair = None,
    calibration_bins: inputs.CalibrationBins = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the report as a page, too.")
    ] = None,
    wait: Annotated[bool, typer.Option(help="Wait until it is done, with progress.")] = True,
) -> None:
    """Measure a classifier on labeled texts; changes no model."""
    from stillroom.cli import classifier_view, pages
    from stillroom.cli.launch import finish

    inputs.check_waiting(html, wait)
    columns: dict[str, Any] = {
        "text_column": text_column,
        "label_column": label_column,
        "label_separator": label_separator,
        "delimiter": delimiter,
        "file_format": file_format,
    }
    source = inputs.Source(data, data_path, dataset, dataset_split, columns)
    with session.client() as client:
        labeled, own_columns = source.read(client)
        operation = client.evaluate_classifier(
            model,
            labeled,
            **own_columns,
            abstention_threshold=abstain_below,
            threshold=threshold,
            truncate=truncate,
            confused_pairs=confused_pairs,
            examples_per_pair=examples_per_pair,
            calibration_bins=calibration_bins,
            include_html=html is not None,
            progress=not session.json_output and session.err.is_terminal,
        )
        response = finish(session, operation, wait)
    if response is None:
        return
    if html is not None:
        pages.write(html, response.html)
        session.say(f"the report is in {html}")
    if not session.json_output:
        classifier_view.show_evaluated(session, response)
