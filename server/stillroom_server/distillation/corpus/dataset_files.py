"""Which files of a dataset's repository hold a split, by its card or by their names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from stillroom_registry.errors import NotFound
from stillroom_server.distillation.corpus.formats import Format, format_of

_DEFAULT = "default"
_SPLITS = ("train", "training", "test", "testing", "validation", "valid", "val", "dev", "eval")
_SHOWN = 20


def choose_files(paths: Sequence[str], split: str, configs: object, field: str) -> list[str]:
    """Those of ``paths`` that hold ``split``, sorted, all of one format, the best that there is.

    ``configs`` is that entry of the card: the files of the ``default`` configuration, or the first.
    Without it, files belong to the split that their names or folders contain between ``/ . - _``,
    such as ``data/train-00000-of-00001.parquet``; where no name contains any split, all files are
    ``train``. Raises NotFound (DATASET_FILES_NOT_FOUND) that names some files.
    """
    data = sorted(path for path in paths if _is_data(path))
    declared = _declared(configs, split)
    if declared is not None:
        found = [path for path in data if any(_matches(path, pattern) for pattern in declared)]
    else:
        found = [path for path in data if _mentions(path, split)]
        if (
            not found
            and split == "train"
            and not any(_mentions(p, s) for p in data for s in _SPLITS)
        ):
            found = data
    for kind in Format:
        chosen = [path for path in found if format_of(path) is kind]
        if chosen:
            return chosen
    there = ", ".join(path[:120] for path in data[:_SHOWN]) or "none"
    raise NotFound(
        f"the dataset has no files of the split {split!r} in a format that is read here (parquet, "
        f"jsonl, csv, tsv, txt); its data files: {there}",
        reason="DATASET_FILES_NOT_FOUND",
        field=field,
    )


def _is_data(path: str) -> bool:
    parts = path.split("/")
    if any(part.startswith(".") for part in parts):
        return False
    stem = parts[-1].lower().partition(".")[0]
    return format_of(path) is not None and stem not in ("readme", "license", "requirements")


def _mentions(path: str, split: str) -> bool:
    return (
        re.search(rf"(?:^|[/._-]){re.escape(split)}(?:[/._-]|$)", path, re.IGNORECASE) is not None
    )


def _declared(configs: object, split: str) -> list[str] | None:
    """The patterns of files that the card gives for the split; None: it gives none at all."""
    if not isinstance(configs, list):
        return None
    usable = [
        config for config in configs if isinstance(config, Mapping) and "data_files" in config
    ]
    if not usable:
        return None
    named = [c for c in usable if c.get("config_name") == _DEFAULT or c.get("default") is True]
    entries: Any = (named or usable)[0]["data_files"]
    if isinstance(entries, str) or (
        isinstance(entries, list) and all(isinstance(entry, str) for entry in entries)
    ):
        return _texts(entries) if split == "train" else []
    patterns: list[str] = []
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, Mapping) and entry.get("split") == split:
            patterns += _texts(entry.get("path"))
    return patterns


def _texts(value: object) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [text for text in values if isinstance(text, str)]


def _matches(path: str, pattern: str) -> bool:
    return fnmatchcase(path, pattern.removeprefix("./"))
