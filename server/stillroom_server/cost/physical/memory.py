"""The most memory that work has at once: of the processes that do it, or of their accelerator.

Bases were measured as peak resident memory on the reference machine: an interpreter with what it
imports before it holds any data.
"""

from __future__ import annotations

from stillroom_server.cost.facts import ModelFacts
from stillroom_server.cost.figures import Basis, Figure
from stillroom_server.cost.physical.place import Place

RUNNER = 330e6  # with torch, transformers, onnxruntime
TRAINER = 190e6  # without torch: classifiers on students
FRONT = 150e6
ENGINE = 330e6
_ADAM = 8.0  # bytes of state a trained parameter (Kingma and Ba 2015: two moments in float32)
_NEAR = (0.92, 1.12)


def figure(value: float, low: float = _NEAR[0], high: float = _NEAR[1]) -> Figure:
    """Bytes that were modelled."""
    return Figure.around(value, low, high, Basis.SPEC)


def held(place: Place, host: float, device: float = 0.0, *, base: float = RUNNER) -> Figure:
    """Bytes of a phase that has ``host`` in the memory of its process, beside the ``base``, and
    ``device`` where its model computes: of both on a host, of the latter on an accelerator."""
    return figure(base + host + device if place.accelerator is None else device)


def passes(place: Place, facts: ModelFacts) -> float:
    """Bytes of a loaded teacher with batches in flight: weights in float32 or narrower, and the
    widest arrays of each pass, one a thread."""
    at_once = place.threads if place.accelerator is None else 1
    widest = 3.0 * facts.hidden + 2.0 * facts.intermediate
    activations = at_once * place.batch_tokens * widest * place.element_bytes
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
