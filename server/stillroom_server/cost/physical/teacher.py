"""A teacher's passes: on the host's cores by measured lines, on an accelerator by its peaks."""

from __future__ import annotations

from dataclasses import dataclass

from stillroom_server.cost.facts import ModelFacts
from stillroom_server.cost.figures import Basis, Figure
from stillroom_server.cost.physical.phase import ZERO, counted
from stillroom_server.cost.physical.place import Place
from stillroom_server.cost.physical.reference import VOCABULARY_TOKENS

SPREAD = 0.97  # of passes side by side; batches are planned and gathered by one thread
SPECIAL_TOKENS = 2  # around a text
# Texts differ in length: the mean of the squares is more than the square of the mean.
UNEVEN = 1.3


@dataclass(frozen=True)
class Passes:
    """``cpu`` seconds of the host's cores, ``device`` seconds of an accelerator, operations, bytes
    moved."""

    cpu: Figure
    device: Figure
    flops: Figure
    traffic: Figure


def load(place: Place, facts: ModelFacts, *, imports: bool = True) -> Figure:
    """Core seconds until it can compute, what it imports included unless an earlier phase did."""
    seconds = place.speeds.seconds("teacher.load", facts.weight_bytes)
    tokenizer = place.speeds.overhead("tokenizer.build", facts.rows)
    if imports:
        return seconds.plus(tokenizer, place.speeds.seconds("torch.import", 1.0))
    return seconds.plus(tokenizer)


def forward(place: Place, facts: ModelFacts, texts: float, length: float) -> Passes:
    """Texts of ``length`` tokens each, special ones included, tokenized and embedded."""
    length = facts.read_tokens(length)
    tokens, pairs = texts * length, texts * length * length * UNEVEN
    tokenized = place.speeds.seconds("teacher.tokenize", tokens)
    flops = counted(texts * facts.flops(length, length * UNEVEN))
    traffic = _traffic(place, facts, tokens)
    if place.accelerator is not None:
        return Passes(tokenized, place.accelerator.seconds(flops, traffic), flops, traffic)
    taken = _by_lines(place, facts, tokens, pairs)
    if place.device_lines:
        return Passes(tokenized, taken, flops, traffic)
    return Passes(taken.plus(tokenized), ZERO, flops, traffic)


def part(place: Place, whole: ModelFacts, some: ModelFacts, texts: float, length: float) -> Passes:
    """The same through ``some`` that was cut out of ``whole``, the teacher that may be timed."""
    if not place.speeds.has("teacher.forward"):
        return forward(place, some, texts, length)
    found = forward(place, whole, texts, length)
    share = min(1.0, some.flops(1.0, length) / max(1.0, whole.flops(1.0, length)))
    return Passes(
        found.cpu.scaled(share),
        found.device.scaled(share),
        found.flops.scaled(share),
        found.traffic.scaled(share),
    )


def vocabulary(place: Place, facts: ModelFacts, rows: float, prompt: float = 0.0) -> Passes:
    """Single tokens between the special ones, behind a prompt of so many tokens."""
    length = VOCABULARY_TOKENS + prompt
    tokens = rows * length
    flops = counted(tokens and facts.flops(tokens, length))
    traffic = _traffic(place, facts, tokens)
    if place.accelerator is not None:
        return Passes(ZERO, place.accelerator.seconds(flops, traffic), flops, traffic)
    taken = _by_lines(place, facts, tokens, tokens * length)
    if place.speeds.has("teacher.vocabulary"):
        units = rows * length / VOCABULARY_TOKENS
        taken = place.speeds.seconds("teacher.vocabulary", units)
    cpu, device = (ZERO, taken) if place.device_lines else (taken, ZERO)
    return Passes(cpu, device, flops, traffic)


def _by_lines(place: Place, facts: ModelFacts, tokens: float, pairs: float) -> Figure:
    speeds = place.speeds
    if speeds.has("teacher.forward"):
        flat = speeds.seconds("teacher.forward", tokens)
        if speeds.has("teacher.attention"):
            return flat.plus(speeds.seconds("teacher.attention", pairs))
        square = 4.0 * facts.layers * facts.hidden * pairs
        straight = 2.0 * facts.multiplied * tokens
        return flat.scaled(1.0 + square / straight) if straight else flat
    # Nobody timed this teacher.
    gflop = (2.0 * facts.multiplied * tokens + 4.0 * facts.layers * facts.hidden * pairs) / 1e9
    written = tokens * facts.layers * _written(facts)
    return speeds.overhead("pass.product", gflop).plus(speeds.overhead("pass.element", written))


def _written(facts: ModelFacts) -> float:
    """Elements that a layer writes for a token: its widths, eight of them and two inner ones."""
    return 8.0 * facts.hidden + 2.0 * facts.intermediate


def _traffic(place: Place, facts: ModelFacts, tokens: float) -> Figure:
    """Weights once a batch, and what each layer writes and reads: its six widths and more."""
    element = place.element_bytes
    batches = -(-tokens // place.batch_tokens) if tokens else 0.0
    activations = tokens * facts.layers * _written(facts)
    moved = element * (batches * facts.multiplied + 2.0 * activations)
    return Figure.around(moved, 0.5, 2.0, Basis.SPEC)
