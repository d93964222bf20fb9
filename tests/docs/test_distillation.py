"""docs/distillation.md against the options, limits and defaults of the code."""

from __future__ import annotations

import re

import pytest

from docs import pages
from stillroom_server.distillation.corpus import cleaning, holdout, options, shards
from stillroom_server.distillation.corpus.ingest import MAX_TEXTS
from stillroom_server.distillation.fidelity import measure, samples
from stillroom_server.distillation.options import DEFAULT_DIMENSIONS
from stillroom_server.distillation.transformer import options as shallow
from stillroom_server.distillation.tuning import options as tuned
from stillroom_server.distillation.tuning import tune
from stillroom_server.settings import Settings

PAGE = pages.ROOT / "docs" / "distillation.md"
TEXT = PAGE.read_text()


def section(title: str) -> str:
    """From a heading to the next one of any rank."""
    found = re.search(rf"^#+ {title}\n(.*?)(?=^#|\Z)", TEXT, re.MULTILINE | re.DOTALL)
    assert found, title
    return found[1]


def default(title: str, option: str) -> str:
    """What a section's table says of an option."""
    found = re.search(rf"^\| `{option}`[^|]*\| ([^|]*) \|", section(title), re.MULTILINE)
    assert found, option
    return found[1].strip()


@pytest.mark.parametrize(
    ("title", "option", "value"),
    [
        ("static_tuned", "max_epochs", tuned.DEFAULT_EPOCHS),
        ("static_tuned", "held_out", tuned.DEFAULT_HELD_OUT),
        ("static_tuned", "grow_words", tuned.DEFAULT_WORDS),
        ("static_tuned", "grow_pairs", tuned.DEFAULT_PAIRS),
        ("transformer", "max_epochs", shallow.DEFAULT_EPOCHS),
        ("transformer", "held_out", shallow.DEFAULT_HELD_OUT),
    ],
)
def test_defaults(title: str, option: str, value: float) -> None:
    assert default(title, option) == f"{value:,}"


def test_defaults_in_words() -> None:
    assert default("static", "dimensions").startswith(f"{DEFAULT_DIMENSIONS},")
    prefixes = ", ".join(map(str, tuned.DEFAULT_PREFIXES))
    assert default("static_tuned", "matryoshka_dimensions").startswith(prefixes)


@pytest.mark.parametrize(
    ("title", "said"),
    [
        ("static_tuned", f"{tune.FEWEST_TEXTS} distinct texts"),
        ("Recipes", f"{tune.FEWEST_TEXTS} distinct texts or more"),
        ("static_tuned", f"shards of {shards.SHARD_TEXTS:,} texts"),
        ("The feature cache", f"shard of {shards.SHARD_TEXTS:,} texts"),
        ("Corpora", f"{cleaning.MAX_TEXT_BYTES:,} bytes"),
        ("Corpora", f"{MAX_TEXTS // 10**6} million distinct texts"),
        ("Held-out texts", f"{options.DEFAULT_HELD_OUT} unless asked"),
        ("Held-out texts", f"at most {holdout.MAX_HELD_OUT:,} or half"),
        ("The report", f"fewer than {measure.FEWEST_HELD_OUT} are held out"),
        ("The report", f"some {round(len(samples.built_in_texts()), -2)} English"),
        ("Operations", f"({Settings.model_fields['operation_slice_seconds'].default})"),
    ],
)
def test_limits(title: str, said: str) -> None:
    assert said in " ".join(section(title).split())
