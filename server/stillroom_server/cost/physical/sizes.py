"""Bytes of what work leaves behind."""

from __future__ import annotations

from stillroom_server.cost.facts import ModelFacts

ELEMENT_BYTES = {"float32": 4.0, "float16": 2.0, "bfloat16": 2.0, "int8": 1.0, "binary": 0.125}
_ROW = 4.0  # of an int8 table: the scale of a row
_TOKENIZER = 24.0  # bytes of tokenizer.json a token
ABOUT = 120e3  # card, configuration, figures
HEADER = 200.0


def table(rows: float, dimensions: float, element_type: str) -> float:
    """Bytes of the weights of a static student."""
    scale = _ROW if element_type == "int8" else 0.0
    return rows * (dimensions * ELEMENT_BYTES[element_type] + scale) + HEADER


def student_folder(weights: float, rows: float) -> float:
    """Of all files of a static student: the weights, once more as a graph, the tokenizer."""
    return 2.0 * weights + _TOKENIZER * rows + ABOUT


def transformer_weights(parameters: float, element_type: str) -> float:
    """Bytes of what serves a transformer student: its graph."""
    return parameters * ELEMENT_BYTES[element_type] + 0.01 * parameters


def transformer_folder(parameters: float, element_type: str, rows: float) -> float:
    """Of all files: weights that other libraries read, the graph, the tokenizer."""
    held = 4.0 if element_type == "float32" else 2.0
    graph = transformer_weights(parameters, element_type)
    return parameters * held + graph + _TOKENIZER * rows + ABOUT


def kept_layers(facts: ModelFacts, kept: int, hidden: int | None) -> tuple[float, float]:
    """(parameters, those that are multiplied) of a transformer with ``kept`` of a teacher's layers,
    of width ``hidden`` or the teacher's."""
    share = kept / max(1, facts.layers)
    narrow = 1.0 if hidden is None else hidden / facts.hidden
    multiplied = facts.multiplied * share * narrow * narrow
    return (facts.parameters - facts.multiplied) * narrow + multiplied, multiplied
