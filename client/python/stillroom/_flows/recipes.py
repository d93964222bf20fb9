"""Recipes from keyword options."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypedDict

from stillroom._protocol import enums
from stillroom._protocol.messages import build
from stillroom.errors import InvalidArgument
from stillroom.v1 import common_pb2
from stillroom.v1 import distillation_service_pb2 as pb

Recipe = (
    pb.AutoRecipe
    | pb.StaticRecipe
    | pb.StaticTunedRecipe
    | pb.TransformerRecipe
    | pb.QuantizeRecipe
)
MESSAGES: dict[str, type[Any]] = {
    "auto": pb.AutoRecipe,
    "static": pb.StaticRecipe,
    "static_tuned": pb.StaticTunedRecipe,
    "transformer": pb.TransformerRecipe,
    "quantize": pb.QuantizeRecipe,
}


class DistillOptions(TypedDict, total=False):
    """How to make a student. What is left out, or None, is the server's choice.

    Of all recipes but auto and quantize:

    dimensions       dimensions of the student (static ones: 256, or the teacher's if fewer)
    max_tokens       the most tokens of a text that the student reads
    element_type     how its weights are stored: "float32", "float16" or "int8"; also of quantize

    Of static and static_tuned:

    variance         instead of dimensions: as few as explain this share of the variance
    all_dimensions   instead: True keeps the teacher's, without PCA
    sif_coefficient  the a of the weight a / (a + p) (default 1e-4; 0: no weights)
    pooling          "mean", "first", "last" or "pooler" (default: as the teacher's modules say)
    add_words        words to add to the vocabulary
    remove_tokens    tokens to drop from it
    remove_pattern   drops tokens that this regular expression matches ("": none)
    prompt_name      the teacher's prompt that is put before each text
    normalize        unit length unless the caller asks otherwise (default True)

    Of static_tuned and transformer:

    max_epochs       passes over the corpus at most
    time_budget      seconds of training at most
    held_out         share of the corpus held out for early stopping and the report, in (0, 0.5]

    Of static_tuned:

    grow_words       frequent words of the corpus added to the vocabulary, at most (0: none)
    grow_pairs       frequent word pairs added to it, at most (0: none)
    matryoshka_dimensions  prefixes of the vector that are trained to be good embeddings

    Of transformer:

    layers           how many of the teacher's layers are kept
    hidden_size      width of the hidden layers

    Of quantize:

    vocabulary_clusters  rows that the table is clustered into

    seed             of everything random, with every recipe
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
    max_epochs: int | None
    time_budget: float | None
    held_out: float | None
    grow_words: int | None
    grow_pairs: int | None
    matryoshka_dimensions: Iterable[int] | None
    layers: int | None
    hidden_size: int | None
    vocabulary_clusters: int | None


# Options whose field has another name.
_FIELDS = {"time_budget": "time_budget_seconds"}


def _fields(message: type[Any]) -> set[str]:
    return set(message.DESCRIPTOR.fields_by_name)


def make(
    recipe: str | Recipe | None, options: DistillOptions, *, has_corpus: bool
) -> dict[str, Recipe]:
    """The recipe as an argument of DistillRequest; empty where everything is left to the server.

    Without ``recipe`` but with options it is the one that auto would choose: static_tuned with a
    corpus, else static. Raises InvalidArgument that names the option at fault.
    """
    given: dict[str, Any] = {key: value for key, value in options.items() if value is not None}
    _check_known(given)
    if recipe is None:
        if not given:
            return {}
        recipe = "auto" if given.keys() == {"seed"} else _by_options(has_corpus)
    if not isinstance(recipe, str):
        return _message(recipe, given)
    name = recipe.lower().replace("-", "_")
    if name not in MESSAGES:
        raise InvalidArgument(
            f"recipe is {recipe!r}; it must be one of {', '.join(MESSAGES)}",
            reason="UNKNOWN_VALUE",
            field="recipe",
        )
    _check_words(given)
    return {name: _BUILDERS.get(name, _plain)(name, given)}


def _by_options(has_corpus: bool) -> str:
    return "static_tuned" if has_corpus else "static"


def _message(recipe: Any, given: dict[str, Any]) -> dict[str, Recipe]:
    for name, kind in MESSAGES.items():
        if type(recipe) is kind:
            if given:
                raise InvalidArgument(
                    f"{min(given)} goes with a recipe by name; set it in the recipe you give",
                    reason="TWO_RECIPES",
                    field=min(given),
                )
            return {name: recipe}
    raise InvalidArgument(
        f"recipe is {type(recipe).__name__}; give one of {', '.join(MESSAGES)}, or a message",
        field="recipe",
    )


def _check_known(given: dict[str, Any]) -> None:
    unknown = given.keys() - DistillOptions.__annotations__.keys()
    if unknown:
        raise InvalidArgument(
            f"{min(unknown)} is no option; there are {', '.join(DistillOptions.__annotations__)}",
            reason="UNKNOWN_OPTION",
            field=min(unknown),
        )


def _check_words(given: dict[str, Any]) -> None:
    sizes = [key for key in ("dimensions", "variance", "all_dimensions") if key in given]
    if len(sizes) > 1:
        raise InvalidArgument(
            f"{' and '.join(sizes)} exclude each other", reason="TWO_SIZES", field=sizes[1]
        )
    for words in ("add_words", "remove_tokens"):
        if isinstance(given.get(words), str):
            raise InvalidArgument(f"{words} is a list of str, not a str", field=words)


def _plain(name: str, given: dict[str, Any]) -> Any:
    """A recipe whose fields are the options themselves."""
    message = MESSAGES[name]
    values = {_FIELDS.get(key, key): value for key, value in given.items()}
    _refuse_others(name, {key: values[_FIELDS.get(key, key)] for key in given}, _fields(message))
    if "pooling" in values:
        values["pooling"] = enums.number(common_pb2.Pooling, values["pooling"], "pooling")
    if "element_type" in values:
        values["element_type"] = enums.number(
            common_pb2.ElementType, values["element_type"], "element_type"
        )
    return build(message, **values)


def _tuned(name: str, given: dict[str, Any]) -> Any:
    """A tuned recipe: what is the start's goes there."""
    own = _fields(pb.StaticTunedRecipe) - {"static"}
    tuned = {key: value for key, value in given.items() if _FIELDS.get(key, key) in own}
    start = {key: value for key, value in given.items() if key not in tuned}
    _refuse_others(name, start, _fields(pb.StaticRecipe))
    message = _plain(name, tuned)
    if start:
        message.static.CopyFrom(_plain("static", start))
    return message


def _refuse_others(name: str, given: dict[str, Any], fields: set[str]) -> None:
    others = sorted(key for key in given if _FIELDS.get(key, key) not in fields)
    if others:
        raise InvalidArgument(
            f"the recipe {name} has no option {others[0]}",
            reason="UNKNOWN_OPTION",
            field=others[0],
        )


_BUILDERS: dict[str, Callable[[str, dict[str, Any]], Any]] = {"static_tuned": _tuned}
