"""Labeled data that ``stillroom train`` and ``stillroom evaluate`` are given."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stillroom.errors import InvalidArgument

if TYPE_CHECKING:
    from stillroom.client import Client

# Options that both commands have.
Data = Annotated[
    Path | None,
    typer.Option(
        help="CSV, TSV or JSONL on this machine, with texts and labels; uploaded.", metavar="FILE"
    ),
]
DataPath = Annotated[
    str | None,
    typer.Option(
        help="Instead of --data: on the server, in an allowed root.", metavar="SERVERFILE"
    ),
]
Dataset = Annotated[
    str | None,
    typer.Option(help="Instead of --data: a dataset on the Hub.", metavar="REPO[@REVISION]"),
]
DatasetSplit = Annotated[str | None, typer.Option(help="Of the dataset (train).")]
TextColumn = Annotated[str | None, typer.Option(help="Where the texts are (text).", metavar="NAME")]
LabelColumn = Annotated[
    str | None, typer.Option(help="Where the labels are (label).", metavar="NAME")
]
LabelSeparator = Annotated[
    str | None, typer.Option(help="Multi-label: between labels of one cell (|).", metavar="TEXT")
]
Delimiter = Annotated[
    str | None, typer.Option(help="Between cells of a CSV (,).", metavar="CHARACTER")
]
FileFormat = Annotated[
    str | None, typer.Option("--format", help="csv, tsv or jsonl; by its name unless given.")
]
ConfusedPairs = Annotated[
    int | None, typer.Option(help="Pairs of labels in the report (10).", metavar="COUNT")
]
ExamplesPerPair = Annotated[
    int | None,
    typer.Option(help="Texts of the data shown for each pair (3); 0: none.", metavar="COUNT"),
]
CalibrationBins = Annotated[
    int | None, typer.Option(help="Of the reliability curve (15).", metavar="COUNT")
]


@dataclass(frozen=True)
class Source:
    """Where labeled data are: exactly one of the first three; and how they are read."""

    data: Path | None
    data_path: str | None
    dataset: str | None
    dataset_split: str | None
    columns: dict[str, Any]

    def read(self, client: Client) -> tuple[Any, dict[str, Any]]:
        """``data`` of the client's methods, and what else they are to be told of it."""
        given = {"data": self.data, "data_path": self.data_path, "dataset": self.dataset}
        named = [name for name, value in given.items() if value is not None]
        if len(named) != 1:
            raise InvalidArgument(
                "give exactly one of --data, --data-path and --dataset",
                reason="ONE_SOURCE",
                field=named[1] if named else "data",
            )
        if self.dataset_split is not None and self.dataset is None:
            raise InvalidArgument("--dataset-split goes with --dataset", field="dataset_split")
        if self.data is not None:
            return self.data, self.columns
        source = client.labeled_source(
            server_path=self.data_path,
            dataset=self.dataset,
            split=self.dataset_split,
            **self.columns,
        )
        return source, {}


def check_waiting(html: Path | None, wait: bool) -> None:
    """A page can only be written of what is done."""
    if html is not None and not wait:
        raise InvalidArgument("--html needs the result: leave out --no-wait", field="html")
