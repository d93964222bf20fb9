"""Texts through a model as it serves: a request's own path, then the model."""

from __future__ import annotations

from dataclasses import dataclass

from stillroom_server.cost.facts import ModelFacts
from stillroom_server.cost.figures import Figure
from stillroom_server.cost.physical import teacher
from stillroom_server.cost.physical.phase import ZERO, counted
from stillroom_server.cost.physical.place import Place
from stillroom_server.cost.physical.sizes import ELEMENT_BYTES

# onnxruntime does a transformer's operations this many times faster than torch in small batches.
_GRAPH = 0.4


@dataclass(frozen=True)
class Served:
    """Of so many texts: ``computing`` are core seconds of the model, ``answering`` those of
    requests and answers, ``device`` seconds of an accelerator; ``spread``: the share of
    ``computing`` that all threads do together."""

    computing: Figure
    answering: Figure
    device: Figure
    flops: Figure
    traffic: Figure
    spread: float

    @property
    def cpu(self) -> Figure:
        return self.computing.plus(self.answering)

    def wall(self, threads: float) -> Figure:
        """Seconds on the clock, alone on the machine."""
        share = 1.0 - self.spread + self.spread / max(1.0, threads)
        return self.computing.scaled(share).plus(self.answering, self.device)


def served(
    place: Place,
    facts: ModelFacts,
    texts: float,
    tokens: float,
    texts_per_request: float,
    *,
    element_type: str = "float32",
    dimensions: int = 0,
    stream: bool = True,
) -> Served:
    """``texts`` of ``tokens`` each on average, in requests of so many."""
    requests = max(1.0, texts / texts_per_request)
    answering = _answering(
        place, facts, texts, requests, element_type, dimensions or facts.dimensions, stream=stream
    )
    own = facts.computing
    head = _head(place, facts, texts)
    if own.kind == "teacher":
        passes = teacher.forward(place, own, texts, tokens + teacher.SPECIAL_TOKENS)
        engine = place.speeds.overhead("teacher.request", requests)
        return Served(
            passes.cpu.plus(head),
            answering.plus(engine),
            passes.device,
            passes.flops,
            passes.traffic,
            teacher.SPREAD,
        )
    read = own.read_tokens(tokens)
    flops = counted(texts * own.flops(read, read))
    if not own.is_table:
        cpu = _graph(place, own, texts, read, requests)
        return Served(cpu.plus(head), answering, ZERO, flops, ZERO, 0.0)
    traffic = counted(texts * read * own.hidden * ELEMENT_BYTES.get(own.element_type, 4.0))
    line = "classifier.classify" if facts.kind == "classifier" else "student.embed"
    computing = place.speeds.seconds(line, texts * read, requests)
    return Served(computing, answering, ZERO, flops, traffic, 0.0)


def latency(place: Place, facts: ModelFacts, tokens: float) -> Figure:
    """Seconds that one text takes in the server."""
    return served(place, facts, 1.0, tokens, 1.0, stream=False).wall(place.threads)


def cores(place: Place, facts: ModelFacts) -> int:
    """How many cores serve requests for it: a table's are answered by the front alone, where one
    core is busy at most (see docs/performance.md); passes of others run side by side."""
    return 1 if facts.computing.is_table else place.threads


def rate(place: Place, facts: ModelFacts, tokens: float, texts_per_request: float) -> Figure:
    """Texts a second that all cores which serve it can do."""
    some = served(place, facts, texts_per_request, tokens, texts_per_request)
    each = some.wall(1.0)
    if some.device == ZERO:
        each = some.cpu.scaled(1.0 / cores(place, facts))
    return each.inverse(texts_per_request)


def _graph(place: Place, facts: ModelFacts, texts: float, tokens: float, requests: float) -> Figure:
    length = tokens + teacher.SPECIAL_TOKENS
    if place.speeds.has("student.embed"):
        return place.speeds.seconds("student.embed", texts * length, requests)
    bare = Place(place.speeds, place.threads, place.contention)
    return teacher.forward(bare, facts, texts, length).cpu.scaled(_GRAPH)


def _head(place: Place, facts: ModelFacts, texts: float) -> Figure:
    """Of a classifier whose vectors come from elsewhere, or out of a graph."""
    if facts.kind != "classifier":
        return ZERO
    gflop = 2.0 * texts * facts.dimensions * max(1, facts.labels) / 1e9
    return place.speeds.overhead("solver.product", gflop)


def _answering(
    place: Place,
    facts: ModelFacts,
    texts: float,
    requests: float,
    element_type: str,
    dimensions: int,
    *,
    stream: bool,
) -> Figure:
    path = place.speeds.overhead("request.stream_item" if stream else "request.unary", requests)
    size = 4.0 * facts.labels if facts.kind == "classifier" else 0.0
    size = size or dimensions * ELEMENT_BYTES.get(element_type, 4.0)
    return path.plus(place.speeds.overhead("answer.byte", texts * size))
