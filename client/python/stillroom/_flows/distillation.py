"""Students out of teachers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypedDict, Unpack

from stillroom._core import Core
from stillroom._protocol import enums, rpcs
from stillroom._protocol.messages import build
from stillroom.errors import InvalidArgument
from stillroom.snapshots import Started
from stillroom.v1 import common_pb2
from stillroom.v1 import distillation_service_pb2 as pb

Recipe = (
    pb.AutoRecipe
    | pb.StaticRecipe
    | pb.StaticTunedRecipe
    | pb.TransformerRecipe
    | pb.QuantizeRecipe
)
_RECIPES: dict[type[Any], str] = {
    pb.AutoRecipe: "auto",
    pb.StaticRecipe: "static",
    pb.StaticTunedRecipe: "static_tuned",
    pb.TransformerRecipe: "transformer",
    pb.QuantizeRecipe: "quantize",
}


class StaticOptions(TypedDict, total=False):
    """How to make a static student. What is left out is the server's default.

    dimensions       dimensions of the student (default 256, or the teacher's if fewer)
    variance         instead: as few dimensions as explain this share of the variance
    all_dimensions   instead: True keeps the teacher's, without PCA
    sif_coefficient  the a of the weight a / (a + p) (default 1e-4; 0: no weights)
    pooling          "mean", "first", "last" or "pooler" (default: as the teacher's modules say)
    add_words        words to add to the vocabulary
    remove_tokens    tokens to drop from it
    remove_pattern   drops tokens that this regular expression matches ("": none)
    element_type     how the table is stored: "float32", "float16" (default) or "int8"
    seed             of everything random
    prompt_name      the teacher's prompt that is put before each token
    max_tokens       the most tokens of a text that the student reads (default: no limit)
    normalize        unit length unless the caller asks otherwise (default True)
    """

    dimensions: int | None
    variance: float | None
    all_dimensions: bool | None
    sif_coefficient: float | None
    pooling: str | None
    add_words: Iterable[str] | None
    remove_tokens: Iterable[str] | None
    remove_pattern: str | None
    element_type: str | None
    seed: int | None
    prompt_name: str | None
    max_tokens: int | None
    normalize: bool | None


async def distill(
    core: Core,
    teacher: str | common_pb2.ModelSource,
    name: str,
    *,
    recipe: Recipe | None = None,
    teacher_name: str | None = None,
    corpus: common_pb2.Corpus | None = None,
    minimum_fidelity: pb.MinimumFidelity | None = None,
    budget: common_pb2.Budget | None = None,
    validate_only: bool = False,
    description: str | None = None,
    labels: Mapping[str, str] | None = None,
    request_id: str | None = None,
    **options: Unpack[StaticOptions],
) -> Started[pb.DistillResponse]:
    """Distills ``teacher`` into a student that is registered as a new version of ``name``; answers
    the operation that does it.

    ``teacher`` is a registered teacher (``name``, ``name@3``, ``name@alias``), or a ModelSource
    (see ``model_source``), which is imported first, as ``teacher_name``. Keyword options make a
    static student, see ``stillroom.StaticOptions``; ``recipe`` is a recipe message for anything
    else, and excludes them. With neither, the server chooses.

    Raises InvalidArgument (``field`` names what is wrong), NotFound (the teacher),
    PermissionDenied, FailedPrecondition (the named model is no teacher, or ``name`` is no student).
    """
    given: dict[str, Any] = {key: value for key, value in options.items() if value is not None}
    if recipe is not None and given:
        raise InvalidArgument(
            f"{min(given)} goes with the static recipe only; set it in the recipe you give",
            reason="TWO_RECIPES",
            field=min(given),
        )
    if recipe is None and given:
        recipe = _static(given)
    if recipe is not None and type(recipe) not in _RECIPES:
        raise InvalidArgument(
            f"recipe is {type(recipe).__name__}; give one of"
            f" {', '.join(kind.__name__ for kind in _RECIPES)}",
            field="recipe",
        )
    is_source = isinstance(teacher, common_pb2.ModelSource)
    request = build(
        pb.DistillRequest,
        name=name,
        teacher=None if is_source else teacher,
        teacher_import=teacher if is_source else None,
        teacher_name=teacher_name,
        corpus=corpus,
        minimum_fidelity=minimum_fidelity,
        budget=budget,
        validate_only=validate_only,
        description=description,
        labels=labels,
        request_id=request_id or core.new_id(),
        **({} if recipe is None else {_RECIPES[type(recipe)]: recipe}),
    )
    return Started(core, await core.call(rpcs.DISTILL, request))


def _static(given: dict[str, Any]) -> pb.StaticRecipe:
    unknown = given.keys() - StaticOptions.__annotations__.keys()
    if unknown:
        raise InvalidArgument(
            f"{min(unknown)} is no option; there are {', '.join(StaticOptions.__annotations__)}",
            reason="UNKNOWN_OPTION",
            field=min(unknown),
        )
    sizes = [key for key in ("dimensions", "variance", "all_dimensions") if key in given]
    if len(sizes) > 1:
        raise InvalidArgument(
            f"{' and '.join(sizes)} exclude each other", reason="TWO_SIZES", field=sizes[1]
        )
    for words in ("add_words", "remove_tokens"):
        if isinstance(given.get(words), str):
            raise InvalidArgument(f"{words} is a list of str, not a str", field=words)
    if "pooling" in given:
        given["pooling"] = enums.number(common_pb2.Pooling, given["pooling"], "pooling")
    if "element_type" in given:
        given["element_type"] = enums.number(
            common_pb2.ElementType, given["element_type"], "element_type"
        )
    return build(pb.StaticRecipe, **given)
