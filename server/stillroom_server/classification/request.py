"""What the operations ``train_classifier`` and ``evaluate_classifier`` are asked for, checked.

Loads nothing that trains, so that the front may check with it before it makes the operation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stillroom_registry.errors import InvalidArgument
from stillroom_registry.names import check_model_name
from stillroom_server.classification.data.source import check_source
from stillroom_server.classification.options import ClassifierOptions
from stillroom_server.classification.report.options import ReportOptions
from stillroom_server.classification.splits import check_scheme
from stillroom_server.distillation.recipes.budget import Budget

_VALIDATIONS = ("validation_split", "validation_data")


@dataclass(frozen=True)
class TrainRequest:
    """``data`` and ``validation_data`` are sources as ``examples.read`` takes them. ``split`` is
    the scheme of the part of ``data`` that is kept for validation: empty for the server's choice,
    None where there is data of its own."""

    encoder: str
    name: str
    data: Mapping[str, Any]
    split: Mapping[str, Any] | None
    validation_data: Mapping[str, Any] | None
    options: ClassifierOptions
    report_options: ReportOptions
    budget: Budget
    description: str | None
    labels: Mapping[str, str] | None

    @classmethod
    def from_json(cls, value: object) -> TrainRequest:
        """Raises InvalidArgument with the field."""
        given = _object(value)
        name = given.get("name")
        if not isinstance(name, str):
            raise InvalidArgument("a name for the classifier is needed", field="name")
        check_model_name(name, field="name")
        if all(key in given for key in _VALIDATIONS):
            raise InvalidArgument(
                "validation is a split of the data or data of its own, not both",
                field=_VALIDATIONS[1],
            )
        options = ClassifierOptions.from_json(given.get("options") or {})
        own = given.get("validation_data")
        check_scheme(given.get("validation_split"))
        return cls(
            encoder=_reference(given, "encoder"),
            name=name,
            data=_source(given, "data", options.multi_label),
            split=None if own is not None else given.get("validation_split") or {},
            validation_data=(
                None if own is None else _source(given, "validation_data", options.multi_label)
            ),
            options=options,
            report_options=ReportOptions.from_json(given.get("report_options"), training=True),
            budget=Budget.from_json(_numbers(given.get("budget"))),
            description=given.get("description"),
            labels=given.get("labels"),
        )


@dataclass(frozen=True)
class EvaluateRequest:
    """``options`` are those of ClassifyOptions that an evaluation may set."""

    model: str
    data: Mapping[str, Any]
    options: Mapping[str, Any]
    report_options: ReportOptions

    @classmethod
    def from_json(cls, value: object) -> EvaluateRequest:
        """Raises InvalidArgument with the field."""
        given = _object(value)
        return cls(
            model=_reference(given, "model"),
            data=_source(given, "data"),
            options=given.get("options") or {},
            report_options=ReportOptions.from_json(given.get("report_options")),
        )


def _object(value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidArgument("the request is not an object")
    return value


def _reference(given: Mapping[str, Any], name: str) -> str:
    value = given.get(name)
    if not isinstance(value, str) or not value:
        raise InvalidArgument("name a registered model", field=name)
    return value


def _source(
    given: Mapping[str, Any], name: str, multi_label: bool | None = None
) -> Mapping[str, Any]:
    """``multi_label`` None: that is not known yet; what it decides is checked on reading."""
    value = given.get(name)
    if not isinstance(value, Mapping):
        raise InvalidArgument("labeled texts are needed", reason="SOURCE_REQUIRED", field=name)
    if multi_label is not None:
        check_source(value, multi_label=multi_label, field=name)
    return value


def _numbers(budget: object) -> object:
    """64-bit integers are strings in JSON."""
    if not isinstance(budget, Mapping):
        return budget
    return {
        name: int(value) if isinstance(value, str) and value.isdecimal() else value
        for name, value in budget.items()
    }
