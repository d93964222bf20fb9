"""The public data that STILLROOM_BENCH_DATA names."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

VARIABLE = "STILLROOM_BENCH_DATA"
STS_YEARS = (2012, 2013, 2014)
FILES = (
    "banking77/train.csv",
    "banking77/test.csv",
    *(f"sts/{year}.tsv" for year in STS_YEARS),
    "trec/train.tsv",
    "trec/test.tsv",
)
CORPUS = "corpus/general.txt"
LAYOUT = f"""{VARIABLE} must name a folder with these files, in UTF-8:
  banking77/train.csv  banking77/test.csv    header `text,category`, one message a row
  sts/2012.tsv  sts/2013.tsv  sts/2014.tsv   score (0 to 5), sentence, sentence; no quotes
  trec/train.tsv  trec/test.tsv              label, text; no quotes
  corpus/general.txt                         a text a line; for what trains on a corpus
The public sets Banking77 (PolyAI), SemEval STS 2012 to 2014 (test) and TREC (6 classes)."""


class NoDataError(Exception):
    """There is no such folder, or files of it are missing; the message says what is wanted."""


@dataclass(frozen=True)
class Labeled:
    """Texts with a label each."""

    texts: list[str]
    labels: list[str]


@dataclass(frozen=True)
class Pairs:
    """Pairs of sentences, and how similar people found them."""

    first: list[str]
    second: list[str]
    scores: list[float]


class Data:
    """Reads the sets in a folder, which is known to have all of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def find(cls, environment: Mapping[str, str]) -> Data:
        """The folder that ``environment`` names. Raises NoDataError."""
        named = environment.get(VARIABLE)
        if not named:
            raise NoDataError(f"{VARIABLE} is not set.\n{LAYOUT}")
        missing = [file for file in FILES if not (Path(named) / file).is_file()]
        if missing:
            raise NoDataError(f"{named} lacks {', '.join(missing)}.\n{LAYOUT}")
        return cls(Path(named))

    def corpus(self) -> Path:
        """The file of unlabeled texts, one a line. Raises NoDataError."""
        file = self.folder / CORPUS
        if not file.is_file():
            raise NoDataError(f"{self.folder} lacks {CORPUS}: texts in UTF-8, one a line")
        return file

    def banking77(self, part: str) -> Labeled:
        """``part`` is train or test."""
        with (self.folder / "banking77" / f"{part}.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        return Labeled([row["text"] for row in rows], [row["category"] for row in rows])

    def trec(self, part: str) -> Labeled:
        """``part`` is train or test."""
        rows = self._rows(f"trec/{part}.tsv", 2)
        return Labeled([text for _, text in rows], [label for label, _ in rows])

    def sts(self, year: int) -> Pairs:
        """All pairs of a year."""
        rows = self._rows(f"sts/{year}.tsv", 3)
        return Pairs([r[1] for r in rows], [r[2] for r in rows], [float(r[0]) for r in rows])

    def _rows(self, file: str, columns: int) -> list[list[str]]:
        rows = []
        for number, line in enumerate((self.folder / file).open(encoding="utf-8"), 1):
            row = line.rstrip("\r\n").split("\t")
            if len(row) != columns:
                raise NoDataError(f"{file}, line {number}: {len(row)} columns, not {columns}")
            rows.append(row)
        return rows
