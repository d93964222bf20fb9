"""``stillroom train``: a classifier out of labeled texts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stillroom.cli import labeled_inputs as inputs
from stillroom.cli.options import command
from stillroom.cli.session import Session

if TYPE_CHECKING:
    from stillroom.client import Client
    from stillroom.v1 import classification_service_pb2 as pb

# Which classifiers an option is for.
_LINEAR = "Linear"
_MLP = "MLP"
_TUNED = "Tuned encoder"
_STEPS = "Gradient steps"
_NGRAMS = "Runs of tokens"
_MULTI = "Multi-label"


def register(app: typer.Typer) -> None:
    """Adds the command to ``app``."""
    command(app, "train")(train)


def _option(whose: str, text: str, **settings: Any) -> Any:
    return typer.Option(help=f"{whose}: {text}", **settings)


def train(
    session: Session,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The classifier's name; gets a new version.")
    ],
    encoder: Annotated[
        str,
        typer.Option(metavar="MODEL", help="A registered student or teacher: name, name@3..."),
    ],
    data: inputs.Data = None,
    data_path: inputs.DataPath = None,
    dataset: inputs.Dataset = None,
    dataset_split: inputs.DatasetSplit = None,
    text_column: inputs.TextColumn = None,
    label_column: inputs.LabelColumn = None,
    label_separator: inputs.LabelSeparator = None,
    delimiter: inputs.Delimiter = None,
    file_format: inputs.FileFormat = None,
    multi_label: Annotated[
        bool, typer.Option("--multi-label", help="Each text has any number of labels.")
    ] = False,
    validation_data: Annotated[
        Path | None,
        typer.Option(help="A file to decide by, instead of a part of the data.", metavar="FILE"),
    ] = None,
    held_out: Annotated[
        float | None, typer.Option(help="So large a part of the data.", metavar="SHARE")
    ] = None,
    folds: Annotated[
        int | None, typer.Option(help="So many parts, each in turn; for small data.")
    ] = None,
    unstratified: Annotated[
        bool, typer.Option("--unstratified", help="Draw parts without regard to labels.")
    ] = False,
    head: Annotated[
        str | None, typer.Option(help="linear or mlp; the better one unless given.")
    ] = None,
    solver: Annotated[str | None, _option(_LINEAR, "closed-form, lbfgs or gradient.")] = None,
    l2: Annotated[float | None, _option(_LINEAR, "weight of the squared norm.")] = None,
    hidden_size: Annotated[
        list[int] | None, _option(_MLP, "width of a hidden layer; repeatable.")
    ] = None,
    dropout: Annotated[float | None, _option(_MLP, "share of hidden units left out.")] = None,
    tuning: Annotated[
        str | None,
        typer.Option(
            help="What of the encoder is trained: frozen, token-weights,"
            " table-and-token-weights (static students)."
        ),
    ] = None,
    token_dropout: Annotated[float | None, _option(_TUNED, "share of tokens left out.")] = None,
    element_type: Annotated[
        str | None, _option(_TUNED, "how the table is stored: float32, float16, int8.")
    ] = None,
    ngrams: Annotated[
        bool | None, typer.Option(help="Runs of tokens as features, where they help.")
    ] = None,
    min_n: Annotated[int | None, _option(_NGRAMS, "tokens of the shortest.")] = None,
    max_n: Annotated[int | None, _option(_NGRAMS, "tokens of the longest.")] = None,
    max_features: Annotated[int | None, _option(_NGRAMS, "so many at most.")] = None,
    min_count: Annotated[int | None, _option(_NGRAMS, "texts that one must be in.")] = None,
    class_weight: Annotated[
        list[str] | None,
        typer.Option(
            help="balanced, none, or how much a label counts; repeatable.",
            metavar="RULE|LABEL=WEIGHT",
        ),
    ] = None,
    focal_gamma: Annotated[float | None, _option(_STEPS, "gamma of the focal loss (0).")] = None,
    label_smoothing: Annotated[
        float | None, _option(_STEPS, "taken from the true label.", metavar="SHARE")
    ] = None,
    epochs: Annotated[int | None, _option(_STEPS, "passes over the data at most.")] = None,
    early_stopping: Annotated[
        bool | None, _option(_STEPS, "end when nothing more is gained (default).")
    ] = None,
    patience: Annotated[int | None, _option(_STEPS, "epochs without a gain.")] = None,
    min_delta: Annotated[float | None, _option(_STEPS, "a smaller gain is none.")] = None,
    stop_metric: Annotated[
        str | None, _option(_STEPS, "what must gain: loss, accuracy or macro-f1.")
    ] = None,
    batch_size: Annotated[int | None, _option(_STEPS, "examples a step.")] = None,
    learning_rate: Annotated[float | None, _option(_STEPS, "of the head.")] = None,
    encoder_learning_rate: Annotated[float | None, _option(_STEPS, "of the encoder.")] = None,
    weight_decay: Annotated[float | None, _option(_STEPS, "decoupled.")] = None,
    time_budget: Annotated[
        float | None, typer.Option(help="Seconds of training at most.", metavar="SECONDS")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of everything random (0).")] = None,
    calibration: Annotated[str | None, typer.Option(help="temperature (default) or none.")] = None,
    threshold: Annotated[
        float | None, _option(_MULTI, "the same for every label.", metavar="SHARE")
    ] = None,
    minimum_precision: Annotated[
        float | None, _option(_MULTI, "instead: as low as keeps it.", metavar="SHARE")
    ] = None,
    minimum_recall: Annotated[
        float | None, _option(_MULTI, "instead: as high as keeps it.", metavar="SHARE")
    ] = None,
    abstain_below: Annotated[
        float | None,
        typer.Option(help="Confidence below which it is unsure; 0: never.", metavar="SHARE"),
    ] = None,
    target_accuracy: Annotated[
        float | None,
        typer.Option(help="Instead: as low as keeps so many answers right.", metavar="SHARE"),
    ] = None,
    target_coverage: Annotated[
        float | None,
        typer.Option(help="Instead: as high as answers so many texts.", metavar="SHARE"),
    ] = None,
    conflicts: Annotated[
        str | None,
        typer.Option(help="Texts with different labels: keep (default), majority, drop, refuse."),
    ] = None,
    truncate: Annotated[bool | None, typer.Option(help="Cut long texts (default).")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Most tokens that count.")] = None,
    dimensions: Annotated[
        int | None, typer.Option(help="Keep the first so many of a vector.")
    ] = None,
    prompt_name: Annotated[str | None, typer.Option(help="One of the encoder's prompts.")] = None,
    confused_pairs: inputs.ConfusedPairs = None,
    examples_per_pair: inputs.ExamplesPerPair = None,
    calibration_bins: inputs.CalibrationBins = None,
    budget_seconds: Annotated[float | None, typer.Option(help="Wall-clock seconds.")] = None,
    budget_memory_bytes: Annotated[int | None, typer.Option(help="Peak memory.")] = None,
    budget_result_bytes: Annotated[int | None, typer.Option(help="Size of the classifier.")] = None,
    budget_money: Annotated[
        float | None, typer.Option(help="US dollars.", metavar="DOLLARS")
    ] = None,
    description: Annotated[str | None, typer.Option(help="For people.")] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="A label of the model; repeatable."),
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the report as a page, too.")
    ] = None,
    validate_only: Annotated[
        bool,
        typer.Option(
            "--validate-only", help="Check everything, show what it would take, make nothing."
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before long work.")] = False,
    wait: Annotated[bool, typer.Option(help="Wait until it is done, with progress.")] = True,
) -> None:
    """Train a classifier on an encoder; calibrate it, measure it, register it.

    Before work of more than a minute it says what that is expected to take, and asks.
    """
    given = dict(locals())
    from stillroom.cli import classifier_view, train_inputs
    from stillroom.cli.agree import agree
    from stillroom.cli.launch import finish, show_estimate

    inputs.check_waiting(html, wait)
    with session.client() as client:
        request = client.train_request(**train_inputs.arguments(session, client, given))
        if not validate_only:
            agree(session, client, request, yes)
        operation = client.start(request)
        response = finish(session, operation, wait)
        if response is not None and response.HasField("model_version") and html is not None:
            _write_page(session, client, response, html)
    if response is None or session.json_output:
        return
    if response.HasField("model_version"):
        classifier_view.show_trained(session, response)
    else:
        session.facts([("classifier", "none was made: everything checks out")])
        show_estimate(session, response)


def _write_page(
    session: Session, client: Client, response: pb.TrainClassifierResponse, html: Path
) -> None:
    from stillroom.cli import pages, version_report

    version = client.get_version(response.model_version.name)
    pages.write(html, version_report.page(client, version))
    session.say(f"the report is in {html}")
