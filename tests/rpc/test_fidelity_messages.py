"""Reports from their stored JSON to the protocol, and where they show."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.rpc import code_pb2
from serving import Details

from stillroom.errors import FidelityTooLow as ClientFidelityTooLow
from stillroom.errors import from_status
from stillroom.v1 import common_pb2, fidelity_pb2, model_pb2
from stillroom_registry.values import ModelKind, ModelVersion
from stillroom_server.distillation.fidelity.gate import MinimumFidelity
from stillroom_server.operations.model import Operation, OperationError, OperationState
from stillroom_server.operations.rows import error_to_text
from stillroom_server.rpc import translate
from stillroom_server.rpc.fidelity_messages import report
from stillroom_server.rpc.operation_messages import OperationMessages

NOW = datetime(2026, 1, 2, tzinfo=UTC)
MEASURED: dict[str, Any] = {
    "text_source": "held_out",
    "texts": 2048,
    "silent_texts": 3,
    "cosine_basis": "aligned",
    "alignment_texts": 4096,
    "mean_cosine": 0.75,
    "p5_cosine": 0.5,
    "similarity_spearman": 0.875,
    "similarity_pairs": 100_000,
    "recall_at_10": 0.625,
    "recall_neighbors": 10,
    "prefixes": [
        {
            "dimensions": 64,
            "similarity_spearman": 0.5,
            "recall_at_10": 0.25,
            "mean_cosine": None,
        },
        {
            "dimensions": 256,
            "similarity_spearman": 0.875,
            "recall_at_10": 0.625,
            "mean_cosine": 0.75,
        },
    ],
    "quantizations": [
        {
            "element_type": "int8",
            "mean_cosine": 0.9999,
            "bytes": 7_000_000,
            "similarity_spearman": 0.874,
            "spearman_change": -0.001,
        }
    ],
    "scores": [
        {
            "name": "sts",
            "kind": "similarity",
            "metric": "spearman",
            "student": 0.7,
            "teacher": 0.75,
            "count": 1500,
        },
        {
            "name": "bank",
            "kind": "labels",
            "metric": "accuracy",
            "student": 0.9,
            "teacher": None,
            "count": 3080,
        },
    ],
    "distribution": {"cosines": None, "similarities": None},
    "measured_speed": {
        "student_tokens_per_second": 1e6,
        "student_texts_per_second": 5e4,
        "teacher_tokens_per_second": 1e4,
        "teacher_texts_per_second": 600.0,
    },
}
TUNED: dict[str, Any] = {
    "recipe": "static_tuned",
    "vocabulary_size": 30_000,
    "dimensions": 256,
    "student_bytes": 15_000_000,
    "teacher_bytes": 90_000_000,
    "explained_variance": 0.9,
    "element_type": "float16",
    "onnx_parity": {
        "min_cosine": 0.999999,
        "max_abs_error": 1e-7,
        "texts": 300,
        "runs": 200,
    },
    "seconds": {"featurize": 40.0, "tune": 20.0},
    "training": {
        "epochs": 16,
        "steps": 3000,
        "words_added": 2000,
        "pairs_added": 1500,
        "best_step": 2900,
        "stopped": "epochs",
        "history": [
            {"step": 0, "epoch": 0, "loss": None, "held_out_loss": 1.5},
            {"step": 180, "epoch": 1, "loss": 1.25, "cosine": 0.7},
        ],
    },
    "corpus": {
        "digest": "sha256:00",
        "lines": 47_091,
        "texts": 47_000,
        "duplicates": 90,
        "blank": 1,
        "cut": 2,
        "held_out": 2350,
        "bytes": 3_000_000,
        "source": {"path": "/c.txt"},
    },
    **MEASURED,
}


def test_every_field_of_a_report_is_filled() -> None:
    shape = {"layers": [1, 3], "hidden_size": 384, "parameters": 9, "teacher_layers": 6}
    made = report({**TUNED, **shape})
    assert unset(made) == {
        "FidelityReport.prefixes[0].mean_cosine",  # as None says
        "FidelityReport.scores[1].teacher",
        "FidelityReport.training.history[0].loss",
        "FidelityReport.training.history[0].cosine",
        "FidelityReport.training.history[1].held_out_loss",
    }


def unset(message: Message, path: str = "FidelityReport") -> set[str]:
    """The fields without a value; of numbers that may be 0, those without presence are not told."""
    found: set[str] = set()
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        here = f"{path}.{field.name}"
        if field.is_repeated:
            if not value:
                found.add(here)
            elif field.message_type is not None and not hasattr(value, "items"):
                for index, item in enumerate(value):
                    found |= unset(item, f"{here}[{index}]")
        elif field.message_type is not None:
            found |= unset(value, here) if message.HasField(field.name) else {here}
        elif not (message.HasField(field.name) if field.has_presence else value or is_index(field)):
            found.add(here)
    return found


def is_index(field: FieldDescriptor) -> bool:
    """Whether 0 is a value like any other."""
    return field.name in ("step", "epoch")


def test_values_go_where_they_belong() -> None:
    made = report(TUNED)
    assert made.text_source == fidelity_pb2.FIDELITY_TEXTS_HELD_OUT
    assert made.cosine_basis == fidelity_pb2.COSINE_BASIS_ALIGNED
    assert made.element_type == common_pb2.ELEMENT_TYPE_FLOAT16
    assert (made.student_texts_per_second, made.teacher_texts_per_second) == (5e4, 600.0)
    assert [prefix.dimensions for prefix in made.prefixes] == [64, 256]
    loss = made.quantizations[0]
    assert (loss.element_type, loss.bytes) == (common_pb2.ELEMENT_TYPE_INT8, 7_000_000)
    assert loss.spearman_change == pytest.approx(-0.001)
    assert [score.kind for score in made.scores] == [
        fidelity_pb2.EVALUATION_KIND_SIMILARITY,
        fidelity_pb2.EVALUATION_KIND_LABELS,
    ]
    assert (made.corpus.texts, made.corpus.held_out) == (47_000, 2350)
    assert (made.training.steps, made.training.history[1].cosine) == (3000, 0.7)
    assert dict(made.seconds) == {"featurize": 40.0, "tune": 20.0}
    assert not made.HasField("transformer")


def test_what_a_transformers_recipe_tells_is_training_and_shape() -> None:
    facts = {
        "recipe": "transformer",
        "architecture": "transformer",
        "layers": [0, 2, 5],
        "teacher_layers": 6,
        "hidden_size": 384,
        "parameters": 17_000_000,
        "epochs": 7,
        "steps": 900,
        "best_step": 800,
        "stopped": "no better",
        "history": [{"step": 800, "epoch": 6, "loss": 0.5, "cosine": 0.95}],
    }
    made = report({**facts, **MEASURED})
    assert made.transformer == fidelity_pb2.TransformerFacts(
        layers=3, teacher_layers=6, hidden_size=384, parameters=17_000_000
    )
    assert (made.training.epochs, made.training.steps) == (7, 900)
    assert (made.training.best_step, made.training.stopped) == (800, "no better")
    assert made.training.history[0].cosine == 0.95


def test_a_quantized_student_is_compared_with_its_source() -> None:
    assert report({"student_bytes": 1, "source_bytes": 4}).teacher_bytes == 4


def test_what_was_not_measured_stays_unset() -> None:
    nothing = dict.fromkeys(MEASURED)
    for values in ({}, nothing, {"text_source": "of tomorrow", "unheard": 1}):
        assert report(values) == fidelity_pb2.FidelityReport()


def test_a_report_of_the_first_students_is_read() -> None:
    made = report(
        {
            "vocabulary_size": 29_525,
            "dimensions": 256,
            "student_bytes": 15,
            "teacher_bytes": 90,
            "explained_variance": 1.0,
            "onnx_parity": {"min_cosine": 1.0, "max_abs_error": 0.0, "texts": 1, "runs": 2},
            "teacher_tokens_per_second": 5000.0,
            "seconds": {"encode": 1.0},
            "element_type": "float16",
        }
    )
    assert (made.vocabulary_size, made.onnx_parity.runs) == (29_525, 2)
    assert made.teacher_tokens_per_second == 5000.0
    assert not made.HasField("mean_cosine")


def test_a_failed_gate_has_the_report_among_its_details() -> None:
    with pytest.raises(Exception, match="not good enough") as caught:
        MinimumFidelity(mean_cosine=0.9).check(TUNED)
    error = OperationError.from_error(caught.value)  # type: ignore[arg-type]
    stored = OperationError(**json.loads(error_to_text(error)))
    operation = Operation(
        id="1",
        kind="distill",
        request={},
        state=OperationState.FAILED,
        create_time=NOW,
        update_time=NOW,
        error=stored,
    )
    status = OperationMessages({}).message(operation).error
    details = Details(status)
    assert (status.code, details.info.reason) == (
        code_pb2.FAILED_PRECONDITION,
        "FIDELITY_TOO_LOW",
    )
    assert details.field == "minimum_fidelity"
    assert details.info.metadata["mean_cosine_measured"] == "0.75"
    assert "report" not in details.info.metadata
    seen = from_status(status)
    assert isinstance(seen, ClientFidelityTooLow)
    assert seen.report == report(TUNED)


def test_a_version_shows_its_report() -> None:
    def shown(**metadata: Any) -> model_pb2.ModelVersion:
        version = ModelVersion(
            model="s",
            version=1,
            kind=ModelKind.STUDENT,
            files=(),
            metadata=metadata,
            parents=(),
            create_time=NOW,
            size=0,
            digest="sha256:00",
        )
        return translate.version(version, {})

    assert shown(report=TUNED).fidelity == report(TUNED)
    assert not shown(dimensions=8).HasField("fidelity")
