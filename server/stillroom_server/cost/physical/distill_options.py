"""A distillation's request as its estimate reads it: the recipe with its options, and its data."""

from __future__ import annotations

from dataclasses import dataclass

from stillroom_server.cost.assumptions import Assumption, Given, Source
from stillroom_server.cost.facts import ModelFacts
from stillroom_server.cost.workloads import DistillWork, tokens_of
from stillroom_server.distillation.option_values import is_int
from stillroom_server.distillation.options import StaticOptions
from stillroom_server.distillation.recipes.auto import AutoOptions
from stillroom_server.distillation.recipes.request import Options, read_recipe
from stillroom_server.distillation.transformer.options import TransformerOptions
from stillroom_server.distillation.tuning.options import FEWEST_TEXTS, TunedOptions
from stillroom_server.distillation.vocabulary_pattern import REMOVE_UNUSED

MOST_TEXTS = 20_000_000  # of a corpus
_SHARE_DIMENSIONS = 0.6  # of the teacher's, where a share of the variance is asked for
_DEFAULT_TEXTS = 50_000.0
_LEAST_HELD, _MOST_HELD = 64.0, 4096.0  # texts of a corpus


@dataclass(frozen=True)
class Corpus:
    """Texts that count, of so many tokens each (special ones apart), and bytes of the source."""

    texts: float
    tokens: float
    size: float
    held_out: float
    """How many of the texts are held out."""

    @property
    def training(self) -> float:
        return self.texts - self.held_out


@dataclass(frozen=True)
class Asked:
    """``corpus`` None: there is none; ``evaluations``: how many are to be measured."""

    recipe: str
    options: Options
    corpus: Corpus | None
    evaluations: int
    assumptions: tuple[Assumption, ...]


def read(work: DistillWork) -> Asked:
    """Raises InvalidArgument as ``read_recipe`` does, for a body that was not checked."""
    recipe, options = read_recipe(work.body.get("recipe") or {"auto": {}})
    assumptions: list[Assumption] = []
    corpus = None
    if work.body.get("corpus") or work.data.texts is not None:
        corpus = _corpus(work, options, assumptions)
    if isinstance(options, AutoOptions):
        recipe, options = _chosen(options, corpus)
        note = "what the corpus allows, and the budget if there is one"
        assumptions.append(Assumption("recipe", recipe, Source.DEFAULT, note))
    elif recipe in ("static", "quantize"):
        corpus, assumptions = None, []
    return Asked(
        recipe, options, corpus, len(work.body.get("evaluations") or ()), tuple(assumptions)
    )


def dimensions_of(options: StaticOptions, teacher: ModelFacts, told: list[Assumption]) -> int:
    """Of the student. Raises InvalidArgument for more than the teacher's."""
    asked = options.dimensions_of(teacher.dimensions)
    if asked is None:
        return teacher.dimensions
    if is_int(asked):
        return int(asked)
    found = max(1, round(_SHARE_DIMENSIONS * teacher.dimensions))
    told.append(
        Assumption(
            "dimensions", f"{found}", Source.DEFAULT, f"as may explain {asked:g} of variance"
        )
    )
    return found


def rows_of(options: StaticOptions, teacher: ModelFacts, told: list[Assumption]) -> int:
    """Rows of the student's table."""
    rows = teacher.vocabulary
    if options.remove_pattern is None:
        rows += teacher.unused
    elif options.remove_pattern != REMOVE_UNUSED:
        told.append(
            Assumption(
                "vocabulary",
                f"{rows:,} tokens",
                Source.MODEL,
                "as many as without reserved ones; what remove_pattern drops is not counted",
            )
        )
    return max(1, rows + len(options.add_words) - len(options.remove_tokens))


def _chosen(options: AutoOptions, corpus: Corpus | None) -> tuple[str, Options]:
    start = StaticOptions(seed=options.seed)
    if corpus is not None and corpus.texts >= FEWEST_TEXTS:
        return "static_tuned", TunedOptions(start)
    return "static", start


def _corpus(work: DistillWork, options: Options, told: list[Assumption]) -> Corpus:
    data = work.data
    texts = data.texts
    if texts is None:
        texts = Given(_DEFAULT_TEXTS, Source.DEFAULT, "nobody has looked at the corpus")
    tokens = tokens_of(data)
    told.append(texts.assumed("texts", "texts"))
    told.append(tokens.assumed("tokens_per_text", "tokens"))
    count = min(texts.value, float(MOST_TEXTS))
    size = data.total_bytes.value if data.total_bytes is not None else count * tokens.value * 4.5
    share = options.held_out if isinstance(options, TunedOptions | TransformerOptions) else 0.05
    return Corpus(count, tokens.value, size, min(_MOST_HELD, max(share * count, _least(count))))


def _least(count: float) -> float:
    """Held out however small the share is."""
    return min(_LEAST_HELD, count / 2.0)
