"""From examples to what is trained on and measured: labels in order, targets, and what was odd."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from stillroom_registry.errors import InvalidArgument
from stillroom_server.classification.data.collecting import Examples
from stillroom_server.classification.data.issues import (
    MOST_EXAMPLES,
    Issue,
    Repeats,
    about_examples,
    about_labels,
    describe,
    is_blank,
    ordered,
    repeats,
)
from stillroom_server.classification.data.targets import (
    Targets,
    count_unknown,
    label_counts,
    label_order,
    make_targets,
)

Bools: TypeAlias = NDArray[np.bool_]

_FIELD, _VALIDATION_FIELD = "data", "validation_data"


class DataOptions(Protocol):
    """What of a classifier's options is about its data; ``ClassifierOptions`` is one."""

    @property
    def multi_label(self) -> bool: ...

    @property
    def conflicts(self) -> str:
        """keep, majority, drop or refuse."""


@dataclass(frozen=True)
class Prepared:
    """``texts`` with their ``targets``, which index ``labels``. ``kept`` int64 (n,): the example
    that each text was, ascending.

    ``validation_texts`` are all texts of separate validation data, in order, with
    ``validation_targets``; None: there are none. ``issues`` are DataIssue in JSON. The figures of
    the data themselves follow: ``example_count`` read, their ``digest`` and that of the validation
    data, labels ``lost`` because none of their examples was kept, and texts of each label that the
    classifier does not know, in ``unknown_counts`` (of the validation data, or the evaluation).
    """

    texts: list[str]
    targets: Targets
    labels: tuple[str, ...]
    validation_texts: list[str] | None
    validation_targets: Targets | None
    issues: list[dict[str, Any]]
    kept: NDArray[np.int64]
    example_count: int
    digest: str
    validation_digest: str = ""
    evaluation: bool = False
    lost: tuple[str, ...] = ()
    unknown_counts: dict[str, int] = field(default_factory=dict)

    @property
    def multi_label(self) -> bool:
        return self.targets.ndim == 2

    def __len__(self) -> int:
        return len(self.texts)


def prepare(train: Examples, validation: Examples | None, options: DataOptions) -> Prepared:
    """What a classifier is trained on. Blank texts are kept out, and what ``options.conflicts``
    drops of texts with different labels; with ``majority`` only the examples with the label that
    the text has most often remain. Separate validation data stay as they are.

    Raises InvalidArgument on ``data``: NO_DATA, SINGLE_CLASS, CONFLICTING_LABELS; ResourceExhausted
    (DATA_TOO_LARGE).
    """
    found = repeats(train)
    issues = describe(train, found)
    keep = np.array([not is_blank(text) for text in train.texts], dtype=np.bool_)
    if not options.multi_label:
        keep[_conflicts_dropped(train, found, options.conflicts)] = False
    kept = np.flatnonzero(keep)
    chosen = kept.tolist()
    given = [train.labels[index] for index in chosen]
    labels = label_order(name for names in set(given) for name in names)
    _check(len(chosen), labels)
    lost = label_order({n for names in set(train.labels) for n in names} - set(labels))
    prepared = Prepared(
        texts=[train.texts[index] for index in chosen],
        targets=make_targets(given, labels, multi_label=options.multi_label, field=_FIELD),
        labels=labels,
        validation_texts=None,
        validation_targets=None,
        issues=issues,
        kept=kept,
        example_count=len(train),
        digest=train.digest,
        lost=lost,
    )
    if validation is not None:
        prepared = _with_validation(prepared, validation, options)
    return replace(prepared, issues=ordered(prepared.issues))


def prepare_evaluation(examples: Examples, labels: Sequence[str], *, multi_label: bool) -> Prepared:
    """What a classifier with ``labels`` is measured on: all ``examples``. Raises ResourceExhausted
    (DATA_TOO_LARGE)."""
    unknown = count_unknown(examples.labels, labels)
    issues = describe(examples, repeats(examples))
    issues += about_labels("LABEL_UNKNOWN_TO_CLASSIFIER", list(unknown))
    return Prepared(
        texts=examples.texts,
        targets=make_targets(examples.labels, labels, multi_label=multi_label, field=_FIELD),
        labels=tuple(labels),
        validation_texts=None,
        validation_targets=None,
        issues=ordered(issues),
        kept=np.arange(len(examples)),
        example_count=len(examples),
        digest=examples.digest,
        evaluation=True,
        unknown_counts=unknown,
    )


def note_tokens(
    prepared: Prepared,
    *,
    unknown: Bools,
    truncated: Bools,
    validation_unknown: Bools | None = None,
    validation_truncated: Bools | None = None,
) -> Prepared:
    """Reports texts without a token that the encoder knows, and those that were cut: bool (n,) of
    the texts, and of the validation texts. The former are no longer trained on: the rows
    ``unknown`` go, and labels that only they had. Raises InvalidArgument as ``prepare`` does."""
    issues = [
        *prepared.issues,
        *about_examples("ALL_UNKNOWN_TEXT", prepared.kept[unknown].tolist()),
        *about_examples("TRUNCATED_TEXT", prepared.kept[truncated].tolist()),
    ]
    for kind, rows in (
        ("ALL_UNKNOWN_TEXT", validation_unknown),
        ("TRUNCATED_TEXT", validation_truncated),
    ):
        if rows is not None:
            indices = np.flatnonzero(rows).tolist()
            issues += about_examples(kind, indices, in_validation_data=True)
    prepared = replace(prepared, issues=ordered(issues))
    if prepared.evaluation or not unknown.any():
        return prepared
    return _without(prepared, unknown)


def _without(prepared: Prepared, rows: Bools) -> Prepared:
    """Without the texts at ``rows``, bool (n,), and labels that only they had."""
    kept = np.flatnonzero(~rows)
    targets = prepared.targets[kept]
    counts = label_counts(targets, len(prepared.labels))
    stays = counts > 0
    labels = tuple(name for name, stay in zip(prepared.labels, stays, strict=True) if stay)
    gone = tuple(name for name, stay in zip(prepared.labels, stays, strict=True) if not stay)
    _check(len(kept), labels)
    unknown = dict(prepared.unknown_counts)
    validation = prepared.validation_targets
    if validation is not None:
        had = label_counts(validation, len(prepared.labels))
        more = zip(prepared.labels, had.tolist(), stays, strict=True)
        unknown |= {name: count for name, count, stay in more if count and not stay}
        validation = _relabeled(validation, stays)
    issues = [i for i in prepared.issues if not i["kind"].endswith("LABEL_ONLY_IN_VALIDATION")]
    issues += about_labels("LABEL_ONLY_IN_VALIDATION", label_order(unknown))
    return replace(
        prepared,
        texts=[prepared.texts[index] for index in kept.tolist()],
        targets=_relabeled(targets, stays),
        labels=labels,
        validation_targets=validation,
        issues=ordered(issues),
        kept=prepared.kept[kept],
        lost=label_order((*prepared.lost, *gone)),
        unknown_counts={name: unknown[name] for name in label_order(unknown)},
    )


def _relabeled(targets: Targets, stays: Bools) -> Targets:
    if targets.ndim == 2:
        return targets[:, stays]
    places = np.append(np.where(stays, np.cumsum(stays) - 1, -1), -1)  # -1 stays -1
    return places[targets]


def _with_validation(prepared: Prepared, validation: Examples, options: DataOptions) -> Prepared:
    unknown = count_unknown(validation.labels, prepared.labels)
    issues: list[Issue] = [*prepared.issues]
    issues += describe(validation, repeats(validation), in_validation_data=True)
    trained = set(prepared.texts)
    shared = [index for index, text in enumerate(validation.texts) if text in trained]
    issues += about_examples("TRAINING_TEXT_IN_VALIDATION", shared, in_validation_data=True)
    issues += about_labels("LABEL_ONLY_IN_VALIDATION", list(unknown))
    return replace(
        prepared,
        validation_texts=validation.texts,
        validation_targets=make_targets(
            validation.labels,
            prepared.labels,
            multi_label=options.multi_label,
            field=_VALIDATION_FIELD,
        ),
        issues=issues,
        validation_digest=validation.digest,
        unknown_counts=unknown,
    )


def _conflicts_dropped(train: Examples, found: Repeats, policy: str) -> list[int]:
    """The examples that the policy keeps out."""
    if policy == "refuse" and found.conflicts:
        group = found.conflicts[0]
        names = sorted({train.labels[index][0] for index in group})
        raise InvalidArgument(
            f"{len(found.conflicts):,} texts occur with different labels, as example "
            f"{group[0]:,} (from 0) with {' and '.join(repr(name) for name in names[:3])}; mend "
            "the data, or choose another policy for conflicts",
            reason="CONFLICTING_LABELS",
            field=_FIELD,
            metadata={"examples": ",".join(map(str, found.conflicting[:MOST_EXAMPLES]))},
        )
    if policy == "drop":
        return found.conflicting
    if policy == "majority":
        return [index for group in found.conflicts for index in _outvoted(train, group)]
    return []


def _outvoted(train: Examples, group: list[int]) -> list[int]:
    """Those of a text's examples that have not the label it has most often, among equals the
    first."""
    counts = Counter(train.labels[index] for index in group)  # in the order of their first
    winner = counts.most_common(1)[0][0]
    return [index for index in group if train.labels[index] != winner]


def _check(count: int, labels: tuple[str, ...]) -> None:
    if not count:
        raise InvalidArgument(
            "no example is left to train on: every text is empty, unknown to the encoder, or kept "
            "out as it has different labels",
            reason="NO_DATA",
            field=_FIELD,
        )
    if len(labels) < 2:
        what = f"{labels[0][:80]!r} is the only one" if labels else "no example has any"
        raise InvalidArgument(
            f"a classifier needs two labels or more, and {what}; is this the right column?",
            reason="SINGLE_CLASS",
            field=_FIELD,
        )
