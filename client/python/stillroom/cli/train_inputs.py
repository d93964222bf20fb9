"""What ``stillroom train`` is given, as arguments of the client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stillroom.cli import distill_inputs
from stillroom.cli.labeled_inputs import Source
from stillroom.errors import InvalidArgument

if TYPE_CHECKING:
    from stillroom.cli.session import Session
    from stillroom.client import Client

_COLUMNS = ("text_column", "label_column", "label_separator", "delimiter", "file_format")
_ENCODING = ("truncate", "max_tokens", "dimensions", "prompt_name")
# Parameters of the command that are arguments of the client's as they are.
_PLAIN = (
    *("name", "encoder", "validation_data", "held_out", "folds", "unstratified"),
    *("confused_pairs", "examples_per_pair", "calibration_bins", "head", "solver", "l2"),
    *("dropout", "tuning", "token_dropout", "element_type", "ngrams", "min_n", "max_n"),
    *("max_features", "min_count", "focal_gamma", "label_smoothing", "early_stopping"),
    *("patience", "min_delta", "stop_metric", "batch_size", "learning_rate"),
    *("encoder_learning_rate", "weight_decay", "time_budget", "seed", "calibration"),
    *("threshold", "minimum_precision", "minimum_recall", "target_accuracy"),
    *("target_coverage", "conflicts"),
)


def arguments(
    session: Session, client: Client, given: dict[str, Any], *, described: bool = False
) -> dict[str, Any]:
    """Those of ``Client.train_request`` out of the command's parameters, of which some may be
    missing. ``described``: there are no data yet, only figures of them."""
    columns = {name: given[name] for name in _COLUMNS}
    source = Source(
        given["data"], given["data_path"], given["dataset"], given["dataset_split"], columns
    )
    labeled, own_columns = _nothing() if described else source.read(client)
    return {
        **{name: given[name] for name in _PLAIN},
        **(columns if given["validation_data"] is not None else own_columns),
        "data": labeled,
        "multi_label": given["multi_label"] or None,
        "hidden_sizes": given["hidden_size"] or None,
        "class_weights": _weights(given["class_weight"]),
        "max_epochs": given["epochs"],
        "abstention_threshold": given["abstain_below"],
        "encoding": {name: given[name] for name in _ENCODING if given[name] is not None} or None,
        "budget": distill_inputs.budget(given),
        "validate_only": given.get("validate_only", False),
        "description": given.get("description"),
        "labels": distill_inputs.labels(given.get("label")),
        "progress": not session.json_output and session.err.is_terminal,
    }


def has_data(given: dict[str, Any]) -> bool:
    """Whether it was said where the data are."""
    return any(given[name] is not None for name in ("data", "data_path", "dataset"))


def _nothing() -> tuple[Any, dict[str, Any]]:
    from stillroom.v1 import classification_service_pb2 as pb

    return pb.LabeledData(), {}


def _weights(given: list[str] | None) -> str | dict[str, float] | None:
    """A rule, or weights from ``LABEL=WEIGHT``: a label may hold ``=`` itself."""
    if not given:
        return None
    if len(given) == 1 and "=" not in given[0]:
        return given[0]
    weights: dict[str, float] = {}
    for text in given:
        label, equals, weight = text.rpartition("=")
        try:
            weights[label] = float(weight)
        except ValueError:
            equals = ""
        if not equals:
            raise InvalidArgument(f"{text!r} is not LABEL=WEIGHT", field="class_weight")
    return weights
