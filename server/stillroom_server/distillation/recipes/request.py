"""What an operation ``distill`` is asked for, checked. Loads nothing that trains, so that the front
may check with it before it makes the operation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from stillroom_registry.errors import InvalidArgument
from stillroom_registry.names import check_model_name
from stillroom_server.distillation.corpus.options import DEFAULT_HELD_OUT
from stillroom_server.distillation.fidelity.gate import MinimumFidelity
from stillroom_server.distillation.options import StaticOptions
from stillroom_server.distillation.quantizing.options import QuantizeOptions
from stillroom_server.distillation.recipes.auto import AutoOptions
from stillroom_server.distillation.recipes.budget import Budget
from stillroom_server.distillation.transformer.options import TransformerOptions
from stillroom_server.distillation.tuning.options import TunedOptions

Options: TypeAlias = (
    AutoOptions | StaticOptions | TunedOptions | TransformerOptions | QuantizeOptions
)
_READERS: Mapping[str, Callable[[object], Options]] = {
    "auto": AutoOptions.from_json,
    "static": StaticOptions.from_json,
    "static_tuned": TunedOptions.from_json,
    "transformer": TransformerOptions.from_json,
    "quantize": QuantizeOptions.from_json,
}
_NEED_CORPUS = frozenset({"static_tuned", "transformer"})


@dataclass(frozen=True)
class DistillRequest:
    """``source``: ``teacher`` (a reference; a student's with the recipe ``quantize``) or
    ``teacher_import``. ``corpus`` and ``evaluations`` are sources as the rooms corpus and fidelity
    read them."""

    name: str
    source: Mapping[str, Any]
    recipe: str
    options: Options
    corpus: Mapping[str, Any] | None
    evaluations: tuple[Mapping[str, Any], ...]
    minimum: MinimumFidelity
    budget: Budget
    description: str | None
    labels: Mapping[str, str] | None

    @property
    def seed(self) -> int:
        """Of everything random."""
        options = self.options
        return options.static.seed if isinstance(options, TunedOptions) else options.seed

    @property
    def held_out(self) -> float:
        """The share of the corpus that is not trained on."""
        if isinstance(self.options, TunedOptions | TransformerOptions):
            return self.options.held_out
        return DEFAULT_HELD_OUT

    @classmethod
    def from_json(cls, value: object) -> DistillRequest:
        """Raises InvalidArgument with the field."""
        if not isinstance(value, Mapping):
            raise InvalidArgument("the request is not an object")
        registered, imported = value.get("teacher"), value.get("teacher_import")
        if not isinstance(registered, str) and not isinstance(imported, Mapping):
            raise InvalidArgument("a teacher is needed", field="teacher")
        name = value.get("name")
        if not isinstance(name, str):
            raise InvalidArgument("a name for the student is needed", field="name")
        check_model_name(name, field="name")
        recipe, options = read_recipe(value.get("recipe") or {"auto": {}})
        corpus = value.get("corpus") or None
        if recipe in _NEED_CORPUS and corpus is None:
            raise InvalidArgument(
                f"{recipe} learns from a corpus; give one",
                reason="CORPUS_REQUIRED",
                field="corpus",
            )
        return cls(
            name=name,
            source={key: value[key] for key in ("teacher", "teacher_import") if value.get(key)},
            recipe=recipe,
            options=options,
            corpus=corpus,
            evaluations=tuple(value.get("evaluations") or ()),
            minimum=MinimumFidelity.from_json(value.get("minimum_fidelity")),
            budget=Budget.from_json(value.get("budget")),
            description=value.get("description"),
            labels=value.get("labels"),
        )


def read_recipe(value: object) -> tuple[str, Options]:
    """The one recipe of ``{"static": {...}}`` and its options."""
    if not isinstance(value, Mapping) or len(value) != 1 or not set(value) <= set(_READERS):
        raise InvalidArgument(
            f"the recipe {value!r} is not known; there are {', '.join(_READERS)}",
            reason="UNKNOWN_RECIPE",
            field="recipe",
        )
    ((recipe, options),) = value.items()
    return recipe, _READERS[recipe](options or {})
