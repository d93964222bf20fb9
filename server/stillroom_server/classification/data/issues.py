"""What is odd about examples without being an error, as DataIssue in JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from stillroom_server.classification.data.collecting import Examples

Issue: TypeAlias = dict[str, Any]

MOST_LABELS, MOST_EXAMPLES = 100, 10
_PREFIX = "DATA_ISSUE_KIND_"
# In the order in which they are told.
KINDS = (
    *("DUPLICATE_TEXT", "CONFLICTING_LABELS", "TRAINING_TEXT_IN_VALIDATION", "EMPTY_TEXT"),
    *("ALL_UNKNOWN_TEXT", "TRUNCATED_TEXT", "RARE_LABEL", "LABEL_ONLY_IN_VALIDATION"),
    *("LABEL_UNKNOWN_TO_CLASSIFIER", "SHARED_THRESHOLD"),
)


def about_examples(
    kind: str, examples: Sequence[int], *, in_validation_data: bool = False
) -> list[Issue]:
    """The issue of ``examples``, in ascending order; none without any."""
    if not len(examples):
        return []
    issue: Issue = {"kind": _PREFIX + kind, "count": len(examples)}
    issue["examples"] = [int(index) for index in examples[:MOST_EXAMPLES]]
    if in_validation_data:
        issue["in_validation_data"] = True
    return [issue]


def about_labels(kind: str, labels: Sequence[str]) -> list[Issue]:
    """The issue of ``labels``; none without any."""
    if not labels:
        return []
    return [{"kind": _PREFIX + kind, "count": len(labels), "labels": list(labels[:MOST_LABELS])}]


def ordered(issues: Iterable[Issue]) -> list[Issue]:
    """By kind; of a kind, those of separate validation data last."""
    return sorted(
        issues,
        key=lambda issue: (
            KINDS.index(issue["kind"].removeprefix(_PREFIX)),
            issue.get("in_validation_data", False),
        ),
    )


def is_blank(text: str) -> bool:
    """Whether a text is empty: nothing, or white space alone."""
    return not text or text.isspace()


@dataclass(frozen=True)
class Repeats:
    """Examples, ascending, of texts that occur several times; blank texts aside.

    ``duplicates`` repeat an example before them whose text has the same labels throughout;
    ``conflicts`` are all examples of each text that has different ones, text by text.
    """

    duplicates: list[int]
    conflicts: list[list[int]]

    @property
    def conflicting(self) -> list[int]:
        """All of ``conflicts``, ascending."""
        return sorted(index for group in self.conflicts for index in group)


def repeats(examples: Examples) -> Repeats:
    """What occurs several times in ``examples``; the order of labels does not count."""
    duplicates: list[int] = []
    conflicts: list[list[int]] = []
    for group in _groups(examples.texts):
        labels = {frozenset(examples.labels[index]) for index in group}
        if len(labels) > 1:
            conflicts.append(group)
        else:
            duplicates += group[1:]
    return Repeats(sorted(duplicates), conflicts)


def _groups(texts: Sequence[str]) -> Iterator[list[int]]:
    """The examples of each text that occurs several times."""
    first: dict[str, int] = {}
    groups: dict[int, list[int]] = {}
    for index, text in enumerate(texts):
        before = first.setdefault(text, index)
        if before != index and not is_blank(text):
            groups.setdefault(before, [before]).append(index)
    yield from groups.values()


def describe(
    examples: Examples, found: Repeats, *, in_validation_data: bool = False
) -> list[Issue]:
    """The issues that examples have by themselves: repeated and blank texts."""
    blank = [index for index, text in enumerate(examples.texts) if is_blank(text)]
    issues: list[Issue] = []
    for kind, indices in (
        ("DUPLICATE_TEXT", found.duplicates),
        ("CONFLICTING_LABELS", found.conflicting),
        ("EMPTY_TEXT", blank),
    ):
        issues += about_examples(kind, indices, in_validation_data=in_validation_data)
    return issues
