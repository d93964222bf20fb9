"""Texts embedded or classified once."""

from __future__ import annotations

from stillroom_server.cost.assumptions import Omission
from stillroom_server.cost.facts import ModelFacts
from stillroom_server.cost.figures import Figure
from stillroom_server.cost.physical import embedding, memory
from stillroom_server.cost.physical.built import Built, Outcome
from stillroom_server.cost.physical.phase import Phase, counted
from stillroom_server.cost.physical.place import Place
from stillroom_server.cost.physical.sizes import ELEMENT_BYTES
from stillroom_server.cost.workloads import EmbedWork, Json, element_type

NO_QUALITY = "nothing is made that could be better or worse"
_BUFFERS = 15e6  # of requests and answers
_BYTES_A_TOKEN = 500.0  # of a vocabulary, in a tokenizer


def build(work: EmbedWork, place: Place) -> Built:
    """By streams of requests, one after the other; the client is not counted."""
    facts, options = work.model, work.options
    stored = answered(options)
    dimensions = int(options.get("dimensions") or 0) or facts.dimensions
    tokens = limited_tokens(work.tokens_per_text.value, options)
    found = embedding.served(
        place,
        facts,
        float(work.texts),
        tokens,
        work.texts_per_request,
        element_type=stored,
        dimensions=dimensions,
    )
    each = 4.0 * facts.labels if facts.kind == "classifier" else 0.0
    each = each or dimensions * ELEMENT_BYTES[stored]
    computing = Phase(
        work.kind,
        "texts",
        counted(float(work.texts)),
        found.computing,
        flops=found.flops,
        traffic=found.traffic,
        spread=found.spread,
        device=found.device,
        memory=resident(place, facts),
        limited_by="tokenizing" if facts.computing.is_table else "the model's arithmetic",
    )
    answering = Phase(
        "answer",
        "requests",
        counted(-(-work.texts // work.texts_per_request)),
        found.answering.plus(place.speeds.overhead("stream.open")),
        traffic=counted(2.0 * work.texts * each),
        memory=memory.held(place, _BUFFERS, base=memory.FRONT),
        limited_by="requests on one core",
    )
    what = "classified" if work.kind == "classify" else "embedded"
    return Built(
        title=f"{work.texts:,} texts {what}, {work.texts_per_request} a request",
        phases=(computing, answering),
        outcome=Outcome(
            counted(work.texts * each),
            nothing(NO_QUALITY),
            embedding.latency(place, facts, tokens),
            embedding.rate(place, facts, tokens, work.texts_per_request),
        ),
        assumptions=(work.tokens_per_text.assumed("tokens_per_text", "tokens"),),
        omissions=(
            Omission("client", "what the caller's own machine does, and the network to it"),
            Omission("first use", "loading the model, where it is not loaded yet"),
        ),
    )


def answered(options: Json) -> str:
    """The type of the elements that are answered."""
    asked = str(options.get("element_type") or "")
    if asked.endswith("BINARY"):
        return "binary"
    return element_type(asked, "options.element_type")


def limited_tokens(tokens: float, options: Json) -> float:
    """Of a text, those that are read."""
    most = float(options.get("max_tokens") or 0)
    return min(tokens, most) if most else tokens


def resident(place: Place, facts: ModelFacts) -> Figure:
    """The most memory: of the front, and for a teacher of its engine beside it."""
    own = facts.computing
    if own.kind == "teacher":
        engine = memory.passes(place, own)
        return memory.held(place, _BUFFERS, engine, base=memory.FRONT + memory.ENGINE)
    if own.is_table:
        table = 4.0 * own.vocabulary * own.dimensions
        held = table + _BYTES_A_TOKEN * own.vocabulary
        return memory.held(place, held + _BUFFERS, base=memory.FRONT)
    graph = 1.3 * own.weight_bytes + _BYTES_A_TOKEN * own.rows
    return memory.held(place, graph + _BUFFERS, base=memory.FRONT)


def nothing(why: str) -> Figure:
    """A figure that makes no sense for the work."""
    return Figure.unknown(why)
