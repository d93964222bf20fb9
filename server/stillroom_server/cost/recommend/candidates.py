"""The ways to do a workload: what its request sets stays, what it leaves open is varied.

Whether each makes sense for its model (a dimension beyond the teacher's, a table to tune where
there is none) is for the checks of the request itself to say; those that do not are dropped there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

JSON = dict[str, Any]
Workload = Mapping[str, Any]

_RECIPES = ("static", "static_tuned", "transformer", "quantize")
_DIMENSIONALITY = ("dimensions", "variance", "all_dimensions")
_DIMENSIONS: tuple[JSON, ...] = (
    {"all_dimensions": True},
    *({"dimensions": dimensions} for dimensions in (256, 128, 64, 32)),
)
# Not float32: a table in float16 gives the same vectors within rounding, in half the bytes.
_STORED = ("ELEMENT_TYPE_FLOAT16", "ELEMENT_TYPE_INT8")
_ANSWERED = (*_STORED, "ELEMENT_TYPE_BINARY")
_LAYERS = (1, 2, 3)
_HEADS: tuple[JSON, ...] = ({"linear": {}}, {"mlp": {}})
_TUNING = "ENCODER_TUNING_MODE_"
_TUNINGS = ("FROZEN", "TOKEN_WEIGHTS", "TABLE_AND_TOKEN_WEIGHTS")
_FROZEN_SOLVERS = frozenset({"LINEAR_SOLVER_CLOSED_FORM", "LINEAR_SOLVER_LBFGS"})
_PARADIGMS = (
    "traditional_ml",
    "deep_learning",
    "fine_tuning",
    "distillation",
    "moe",
    "ensemble",
)
_METHODS: tuple[JSON, ...] = (
    {"full": {}},
    {"lora": {"rank": 8}},
    {"qlora": {"rank": 8, "bits": 4}},
    {"adapter": {}},
    {"prefix": {}},
    {"ia3": {}},
)
# Other ways to a small model or a classifier, shown beside those that this server has; by their
# tables alone, as what they would train on are not the same data.
_ELSEWHERE: tuple[JSON, ...] = tuple(
    {"paradigm": paradigm}
    for paradigm in (
        {"deep_learning": {}},
        *({"fine_tuning": method} for method in _METHODS),
        {"moe": {}},
        {"ensemble": {}},
    )
)


def candidates(workload: Workload) -> list[JSON]:
    """Workloads, in the JSON of the protocol's Workload: those that this server may run, then
    paradigms that it does not have, for comparison. At least one, none twice."""
    found: list[JSON] = []
    for candidate in _ways(workload):
        if candidate not in found:
            found.append(candidate)
    return found


def _ways(workload: Workload) -> Iterator[JSON]:
    if "distill" in workload:
        yield from ({"distill": request} for request in _distillations(workload["distill"]))
        yield from _ELSEWHERE
    elif "train_classifier" in workload:
        asked = workload["train_classifier"]
        yield from ({"train_classifier": request} for request in _trainings(asked))
        yield from _ELSEWHERE
    elif "embed" in workload:
        yield from ({"embed": request} for request in _embeddings(workload["embed"]))
    elif "paradigm" in workload:
        yield from ({"paradigm": request} for request in _paradigms(workload["paradigm"]))
    else:
        yield dict(workload)


def _distillations(request: Workload) -> Iterator[JSON]:
    recipe = next((name for name in _RECIPES if name in request), None)
    if recipe is None:
        rest = {name: value for name, value in request.items() if name != "auto"}
        seed = {key: value for key, value in request.get("auto", {}).items() if key == "seed"}
        starts: dict[str, JSON] = {"static": seed, "static_tuned": {}, "transformer": seed}
        if seed:
            starts["static_tuned"] = {"static": seed}
        for name, options in starts.items():
            # A corpus was given for auto, which takes either; static refuses one.
            kept = {k: v for k, v in rest.items() if k != "corpus"} if name == "static" else rest
            for varied in _VARIED[name](options):
                yield {**kept, name: varied}
    else:
        for varied in _VARIED[recipe](request[recipe]):
            yield {**request, recipe: varied}


def _static(options: Workload) -> Iterator[JSON]:
    open_size = not any(name in options for name in _DIMENSIONALITY)
    sizes: tuple[JSON, ...] = _DIMENSIONS if open_size else ({},)
    for size, stored in product(sizes, _open(options, "element_type", _STORED)):
        yield {**options, **size, **stored}


def _static_tuned(options: Workload) -> Iterator[JSON]:
    for static in _static(options.get("static", {})):
        yield {**options, "static": static}


def _transformer(options: Workload) -> Iterator[JSON]:
    layers = _open(options, "layers", _LAYERS)
    for kept, stored in product(layers, _open(options, "element_type", _STORED)):
        yield {**options, **kept, **stored}


def _quantize(options: Workload) -> Iterator[JSON]:
    yield from ({**options, **stored} for stored in _open(options, "element_type", _STORED))


_VARIED = {
    "static": _static,
    "static_tuned": _static_tuned,
    "transformer": _transformer,
    "quantize": _quantize,
}


def _trainings(request: Workload) -> Iterator[JSON]:
    yield dict(request)  # with the server's own choices, which tries several
    options = request.get("options", {})
    heads: tuple[JSON, ...] = _HEADS
    if "linear" in options or "mlp" in options:
        heads = ({},)
    tuning, ngrams = options.get("encoder_tuning", {}), options.get("ngrams", {})
    # Other fields of NgramOptions contradict OFF.
    runs = ("NGRAM_MODE_ON",) if ngrams else ("NGRAM_MODE_OFF", "NGRAM_MODE_ON")
    solver = options.get("linear", {}).get("solver")
    names = _TUNINGS[:1] if solver in _FROZEN_SOLVERS else _TUNINGS
    modes = [_TUNING + name for name in names]
    for head, mode, run in product(
        heads, _open(tuning, "mode", modes), _open(ngrams, "mode", runs)
    ):
        changed = {
            **options,
            **head,
            "encoder_tuning": {**tuning, **mode},
            "ngrams": {**ngrams, **run},
        }
        yield {**request, "options": changed}


def _embeddings(request: Workload) -> Iterator[JSON]:
    yield dict(request)  # in float32; of a classifier the only one, as it takes no options
    options = request.get("options", {})
    for answered in _open(options, "element_type", _ANSWERED):
        yield {**request, "options": {**options, **answered}}


def _paradigms(request: Workload) -> Iterator[JSON]:
    if any(name in request for name in _PARADIGMS):
        yield dict(request)
        return
    for name in _PARADIGMS:
        if name == "fine_tuning":
            yield from ({**request, name: method} for method in _METHODS)
        else:
            yield {**request, name: {}}


def _open(options: Workload, name: str, values: Any) -> list[JSON]:
    """The field with each of ``values``, or nothing where it is set."""
    return [{}] if options.get(name) else [{name: value} for value in values]
