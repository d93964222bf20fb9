"""The report of a student as the protocol has it, from the JSON that is stored with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stillroom.v1 import common_pb2
from stillroom.v1 import fidelity_pb2 as pb
from stillroom_server.operations.model import Json

ELEMENT_TYPES: dict[int, str] = {
    common_pb2.ELEMENT_TYPE_FLOAT32: "float32",
    common_pb2.ELEMENT_TYPE_FLOAT16: "float16",
    common_pb2.ELEMENT_TYPE_INT8: "int8",
}
EVALUATION_KINDS: dict[int, str] = {
    pb.EVALUATION_KIND_SIMILARITY: "similarity",
    pb.EVALUATION_KIND_LABELS: "labels",
}
_BY_TYPE: dict[Any, Any] = {word: number for number, word in ELEMENT_TYPES.items()}
_BY_KIND: dict[Any, Any] = {word: number for number, word in EVALUATION_KINDS.items()}
_TEXTS: dict[Any, Any] = {
    "held_out": pb.FIDELITY_TEXTS_HELD_OUT,
    "built_in": pb.FIDELITY_TEXTS_BUILT_IN,
}
_BASES: dict[Any, Any] = {"teacher": pb.COSINE_BASIS_TEACHER, "aligned": pb.COSINE_BASIS_ALIGNED}
# Fields whose value is that of the same key.
_PLAIN = (
    *("vocabulary_size", "dimensions", "student_bytes", "teacher_bytes", "explained_variance"),
    *("mean_cosine", "p5_cosine", "similarity_spearman", "recall_at_10", "seconds", "recipe"),
    *("texts", "silent_texts", "alignment_texts", "similarity_pairs", "recall_neighbors"),
    *("student_texts_per_second", "student_tokens_per_second"),
    *("teacher_texts_per_second", "teacher_tokens_per_second"),
)


def report(values: Json) -> pb.FidelityReport:
    """What was measured. Keys that are missing, None or unknown stay unset: reports are kept for as
    long as their students, and older servers measured less."""
    flat = _flat(values)
    words: dict[str, Any] = {
        "element_type": _BY_TYPE.get(flat.get("element_type")),
        "text_source": _TEXTS.get(flat.get("text_source")),
        "cosine_basis": _BASES.get(flat.get("cosine_basis")),
    }
    result = pb.FidelityReport(
        **_given(flat, _PLAIN),
        **words,
        prefixes=[
            pb.PrefixQuality(**_known(item, pb.PrefixQuality))
            for item in flat.get("prefixes") or ()
        ],
        quantizations=[_loss(item) for item in flat.get("quantizations") or ()],
        scores=[_score(item) for item in flat.get("scores") or ()],
    )
    for name, message in (
        ("onnx_parity", pb.OnnxParity),
        ("corpus", pb.CorpusFacts),
        ("transformer", pb.TransformerFacts),
    ):
        if isinstance(flat.get(name), Mapping):
            getattr(result, name).CopyFrom(message(**_known(flat[name], message)))
    if isinstance(flat.get("training"), Mapping):
        result.training.CopyFrom(_training(flat["training"]))
    return result


def _flat(values: Json) -> dict[str, Any]:
    """``values`` with what recipes and measurements keep elsewhere where the protocol has it."""
    flat = {**(values.get("measured_speed") or {}), **values}
    flat.setdefault("teacher_bytes", flat.get("source_bytes"))
    if isinstance(flat.get("layers"), list):  # a transformer's recipe tells which were kept
        flat["transformer"] = flat | {"layers": len(flat["layers"])}
        flat.setdefault("training", flat)
    return flat


def _loss(item: Json) -> pb.QuantizationLoss:
    values = _known(item, pb.QuantizationLoss) | {"element_type": _BY_TYPE[item["element_type"]]}
    return pb.QuantizationLoss(**values)


def _score(item: Json) -> pb.TaskScore:
    return pb.TaskScore(**(_known(item, pb.TaskScore) | {"kind": _BY_KIND[item["kind"]]}))


def _training(facts: Json) -> pb.TrainingFacts:
    values = _known(facts, pb.TrainingFacts)
    values["history"] = [
        pb.TrainingPoint(**_known(item, pb.TrainingPoint)) for item in facts.get("history") or ()
    ]
    return pb.TrainingFacts(**values)


def _known(values: Json, message: Any) -> dict[str, Any]:
    return _given(values, message.DESCRIPTOR.fields_by_name)


def _given(values: Json, names: Any) -> dict[str, Any]:
    return {name: values[name] for name in names if values.get(name) is not None}
