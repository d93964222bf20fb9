"""The most memory that work has at once: of the processes that do it, or of their accelerator.

Bases were measured as peak resident memory on the reference machine: an interpreter with what it
imports before it holds any data.
"""

from __future__ import annotations

from stillroom_server.cost.facts import ModelFacts
from stillroom_server.cost.figures import Basis, Figure
from stillroom_server.cost.physical.place import Place

RUNNER = 290e6  # with torch, once a teacher is loaded; its weights apart
FITTER = 36e6  # scipy, and what tuning holds beside its arrays
DRAWER = 78e6  # matplotlib and onnxruntime
TRAINER = 118e6  # without torch: classifiers on students
FRONT = 105e6
ENGINE = 282e6
# Allocators keep what passes have freed; measured over the widest arrays of one layer.
_KEPT_ARRAYS = 4.2
TEXT_TOKENS, ROW_TOKENS = 2048, 1536  # of a pass over texts, and over single tokens
_ADAM = 8.0  # bytes of state a trained parameter (Kingma and Ba 2015: two moments in float32)
_NEAR = (0.92, 1.12)


def figure(value: float, low: float = _NEAR[0], high: float = _NEAR[1]) -> Figure:
    """Bytes that were modelled."""
    return Figure.around(value, low, high, Basis.SPEC)


def held(place: Place, host: float, device: float = 0.0, *, base: float = RUNNER) -> Figure:
    """Bytes of a phase that has ``host`` in the memory of its process, beside the ``base``, and
    ``device`` where its model computes: of both on a host, of the latter on an accelerator."""
    return figure(base + host + device if place.accelerator is None else device)


def passes(place: Place, facts: ModelFacts, tokens: int = TEXT_TOKENS) -> float:
    """Bytes of a loaded teacher with passes of so many tokens in flight, one a thread: weights, and
    the widest arrays of a layer."""
    at_once = place.threads if place.accelerator is None else 1
    tokens = tokens if place.accelerator is None else place.batch_tokens
    widest = 3.0 * facts.hidden + 2.0 * facts.intermediate
    activations = _KEPT_ARRAYS * at_once * tokens * widest * place.element_bytes
    return weights(place, facts) + activations


def weights(place: Place, facts: ModelFacts) -> float:
    """Bytes of a model's parameters where they are computed with."""
    return facts.parameters * place.element_bytes


def training(parameters: float, trained: float, element: float, activations: float) -> float:
    """Weights, and of what is trained gradients and the optimizer's state, and activations."""
    return parameters * element + trained * (element + _ADAM) + activations


def kept_activations(
    layers: float, hidden: float, inner: float, heads: float, batch: float, length: float
) -> float:
    """Elements that a training step keeps for its backward pass, after Korthikanti et al. 2022
    (arXiv:2205.05198, section 4.1): per layer some ten widths a token, two of the inner one, and
    two maps of attention a head."""
    token = 10.0 * hidden + 2.0 * inner
    return layers * batch * length * (token + 2.0 * heads * length)
