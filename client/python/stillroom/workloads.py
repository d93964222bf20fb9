"""Work to estimate that is no operation: arguments of ``Client.estimate_cost``.

>>> from stillroom import Client, workloads
>>> with Client() as client:
...     print(client.estimate_cost(workloads.embed("mini", 1_000_000)).estimate.seconds)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stillroom._protocol import enums
from stillroom._protocol.messages import build, from_mapping
from stillroom.errors import InvalidArgument
from stillroom.v1 import common_pb2
from stillroom.v1 import cost_service_pb2 as pb
from stillroom.v1 import embedding_service_pb2 as embedding
from stillroom.v1 import model_service_pb2 as models

PARADIGMS: dict[str, type[Any]] = {
    "traditional_ml": pb.TraditionalMlParadigm,
    "deep_learning": pb.DeepLearningParadigm,
    "fine_tuning": pb.FineTuningParadigm,
    "distillation": pb.DistillationParadigm,
    "moe": pb.MoeParadigm,
    "ensemble": pb.EnsembleParadigm,
}
METHODS: dict[str, type[Any]] = {
    "lora": pb.LoraMethod,
    "qlora": pb.QloraMethod,
    "adapter": pb.AdapterMethod,
    "prefix": pb.PrefixMethod,
    "ia3": pb.Ia3Method,
    "full": pb.FullMethod,
}
Shape = Mapping[str, int] | pb.ModelShape


def embed(
    model: str,
    texts: int,
    *,
    tokens_per_text: float | None = None,
    texts_per_request: int | None = None,
    options: embedding.EmbedOptions | None = None,
) -> pb.EmbedWorkload:
    """So many texts embedded by a student or teacher, or classified by a classifier, once.
    ``tokens_per_text`` is assumed unless given, ``texts_per_request`` is 256."""
    return build(
        pb.EmbedWorkload,
        model=model,
        texts=texts,
        tokens_per_text=tokens_per_text,
        texts_per_request=texts_per_request,
        options=options,
    )


def serve(
    model: str,
    texts_per_second: float,
    *,
    peak_texts_per_second: float | None = None,
    duration_seconds: float | None = None,
    tokens_per_text: float | None = None,
    texts_per_request: int | None = None,
    options: embedding.EmbedOptions | None = None,
) -> pb.ServeWorkload:
    """A rate of texts, on average and at its peak (three times that), for a time (30 days)."""
    return build(
        pb.ServeWorkload,
        model=model,
        texts_per_second=texts_per_second,
        peak_texts_per_second=peak_texts_per_second,
        duration_seconds=duration_seconds,
        tokens_per_text=tokens_per_text,
        texts_per_request=texts_per_request,
        options=options,
    )


def push(name: str, repo: str) -> models.PushModelVersionRequest:
    """A version published as ``owner/name`` on the Hub, all of its files counted."""
    return build(models.PushModelVersionRequest, name=name, repo=repo)


def pull(repo: str, name: str = "", *, revision: str | None = None) -> models.PullModelRequest:
    """``owner/name`` of the Hub. How large it is nobody asks the Hub: say so by
    ``data={"total_bytes": ...}`` of ``estimate_cost``."""
    source = build(common_pb2.HubSource, repo=repo, revision=revision)
    return build(models.PullModelRequest, source=source, name=name)


def paradigm(
    paradigm: str,
    *,
    method: str | None = None,
    model: str | None = None,
    shape: Shape | None = None,
    tokens: int | None = None,
    epochs: int | None = None,
    sequence_length: int | None = None,
    batch_size: int | None = None,
    element_type: str | None = None,
    teacher: str | None = None,
    teacher_shape: Shape | None = None,
    **parameters: float | None,
) -> pb.ParadigmWorkload:
    """Training in a paradigm, for comparison: most of them no Stillroom runs.

    ``paradigm`` is "traditional_ml", "deep_learning", "fine_tuning" (with ``method`` "lora",
    "qlora", "adapter", "prefix", "ia3" or "full"), "distillation", "moe" or "ensemble". The model
    is a registered one, or a ``shape``: a dict of the fields of ModelShape. Without either, only
    the rules of thumb answer. ``tokens`` are those of an epoch. ``parameters`` are those of the
    paradigm or method: rank, alpha, bits, experts, active_experts, members.

    Raises InvalidArgument that names the argument.
    """
    key = _known(paradigm, PARADIGMS, "paradigm")
    given = {name: value for name, value in parameters.items() if value is not None}
    if (key == "fine_tuning") != (method is not None):
        raise InvalidArgument("fine_tuning has a method, nothing else has", field="method")
    if key != "distillation" and (teacher is not None or teacher_shape is not None):
        raise InvalidArgument("only distillation has a teacher", field="teacher")
    if model is not None and shape is not None:
        raise InvalidArgument("give a model or a shape, not both", field="shape")
    chosen: Any
    if method is not None:
        how = _known(method, METHODS, "method")
        chosen = pb.FineTuningParadigm(**{how: _parameters(METHODS[how], given)})
    elif key == "distillation":
        _parameters(pb.TraditionalMlParadigm, given)  # it has none
        chosen = build(
            pb.DistillationParadigm,
            teacher=teacher,
            teacher_shape=from_mapping(pb.ModelShape, teacher_shape, "teacher_shape"),
        )
    else:
        chosen = _parameters(PARADIGMS[key], given)
    return build(
        pb.ParadigmWorkload,
        model=model,
        shape=from_mapping(pb.ModelShape, shape, "shape"),
        tokens=tokens,
        epochs=epochs,
        sequence_length=sequence_length,
        batch_size=batch_size,
        element_type=enums.number(common_pb2.ElementType, element_type, "element_type"),
        **{key: chosen},
    )


def _known(word: str, among: Mapping[str, object], field: str) -> str:
    key = word.lower().replace("-", "_")
    if key not in among:
        raise InvalidArgument(
            f"{field} is {word!r}; it must be one of {', '.join(among)}",
            reason="UNKNOWN_VALUE",
            field=field,
        )
    return key


def _parameters(message: type[Any], given: dict[str, float]) -> Any:
    known = message.DESCRIPTOR.fields_by_name
    others = sorted(given.keys() - set(known))
    if others:
        has = f"; it has {', '.join(known)}" if known else ""
        raise InvalidArgument(
            f"this paradigm has no parameter {others[0]}{has}",
            reason="UNKNOWN_OPTION",
            field=others[0],
        )
    return build(message, **given)
