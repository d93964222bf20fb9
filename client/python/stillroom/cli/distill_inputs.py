"""What ``stillroom distill`` is given, as arguments of the client."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stillroom.errors import InvalidArgument

if TYPE_CHECKING:
    from stillroom.cli.session import Session
    from stillroom.client import Client

# Parameters of the command that are arguments of the client's as they are.
_PLAIN = (
    *("teacher", "name", "recipe", "dimensions", "variance", "sif_coefficient", "pooling"),
    *("element_type", "remove_pattern", "prompt_name", "max_tokens", "time_budget", "held_out"),
    *("grow_words", "grow_pairs", "layers", "hidden_size", "vocabulary_clusters", "seed"),
)
# Fields of a budget by what follows ``--budget-``.
_LIMITS = {
    "seconds": "seconds",
    "memory_bytes": "memory_bytes",
    "result_bytes": "result_bytes",
    "money": "money_usd",
}


def arguments(session: Session, client: Client, given: dict[str, Any]) -> dict[str, Any]:
    """Those of ``Client.distill_request`` out of the command's parameters, of which some may be
    missing."""
    bar = not session.json_output and session.err.is_terminal
    return {
        **{name: given[name] for name in _PLAIN},
        "corpus": corpus(
            client,
            given["corpus"],
            bar,
            server_path=given["corpus_path"],
            dataset=given["dataset"],
            split=given["dataset_split"],
            column=given["dataset_column"],
        ),
        "evaluations": evaluations(given["evaluate"], given["evaluate_test"]),
        "minimum_fidelity": minimum(given.get("minimum_fidelity")),
        "budget": budget(given),
        "all_dimensions": given["all_dimensions"] or None,
        "add_words": lines(given["add_words"]),
        "remove_tokens": lines(given["remove_tokens"]),
        "max_epochs": given["epochs"],
        "matryoshka_dimensions": given["matryoshka"] or None,
        "description": given.get("description"),
        "labels": labels(given.get("label")),
        "validate_only": given.get("validate_only", False),
        "progress": bar,
    }


def budget(given: Mapping[str, Any]) -> dict[str, Any] | None:
    """The budget of a request; None without a limit."""
    limits = {field: given.get(f"budget_{name}") for name, field in _LIMITS.items()}
    return {field: value for field, value in limits.items() if value is not None} or None


def corpus(client: Client, path: Path | None, progress: bool, **others: str | None) -> Any:
    """The corpus of ``distill``: a file of this machine, or what else ``corpus_source`` takes."""
    given = [name for name, value in others.items() if value is not None]
    if not given:
        return path  # None, or uploaded when everything else has been found to be in order
    return client.corpus_source(path=path, progress=progress, **others)


def lines(path: Path | None) -> list[str] | None:
    """The lines of a file that are not blank."""
    if path is None:
        return None
    from stillroom.cli import textfile

    return [line for line in textfile.lines(path) if line.strip()]


def labels(given: list[str] | None) -> dict[str, str] | None:
    """Labels from ``KEY=VALUE``; of one that comes twice, the last."""
    return dict(_pair(text, "label") for text in given or ()) or None


def _pair(text: str, what: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise InvalidArgument(f"the {what} {text!r} is not KEY=VALUE", field=what)
    return key, value


def evaluations(
    given: list[str] | None, tests: list[str] | None
) -> dict[str, Path | tuple[Path, Path]] | None:
    """Evaluations from ``NAME=FILE``, with what some are tested on."""
    files, test_files = _files(given, "evaluate"), _files(tests, "evaluate_test")
    for name in test_files:
        if name not in files:
            raise InvalidArgument(
                f"no --evaluate is called {name!r}: give the rows to train on too",
                field="evaluate_test",
            )
    return {
        name: (path, test_files[name]) if name in test_files else path
        for name, path in files.items()
    } or None


def _files(given: list[str] | None, what: str) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for text in given or ():
        name, path = _pair(text, what)
        if name in files:
            raise InvalidArgument(f"{name!r} is given twice", field=what)
        files[name] = Path(path)
    return files


def minimum(text: str | None) -> float | dict[str, float] | None:
    """A minimum fidelity from ``0.8`` or ``mean_cosine=0.8,recall_at_10=0.4``."""
    if text is None:
        return None
    try:
        if "=" not in text:
            return float(text)
        pairs = [_pair(part, "minimum_fidelity") for part in text.split(",")]
        return {key.strip(): float(value) for key, value in pairs}
    except ValueError:
        raise InvalidArgument(
            f"{text!r} is neither a number nor name=number pairs with commas between",
            field="minimum_fidelity",
        ) from None
