"""README.md: the model card, with metadata as the Hub reads it. Every text in it is escaped.

Written when the student is; ``add_fidelity`` adds what was measured of it afterwards.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from stillroom_server.distillation.export.card_fidelity import fidelity_section
from stillroom_server.distillation.export.card_text import escape, table

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_FIDELITY = "\n<!-- fidelity -->\n"  # a line that no escaped text can be
CARD = "README.md"
MODEL2VEC = "model2vec"
SENTENCE_TRANSFORMERS = "sentence-transformers"
TAGS = {
    MODEL2VEC: ("embeddings", "static-embeddings", SENTENCE_TRANSFORMERS, MODEL2VEC, "stillroom"),
    SENTENCE_TRANSFORMERS: ("embeddings", SENTENCE_TRANSFORMERS, "onnx", "stillroom"),
}
# What the card says where nobody says more: title, then first sentence.
_DEFAULTS = {
    MODEL2VEC: (
        "A static student",
        "A static sentence-embedding student: a vector for each token, averaged.",
    ),
    SENTENCE_TRANSFORMERS: (
        "A transformer student",
        "A sentence-embedding student: a transformer with few layers.",
    ),
}
_USE = {
    MODEL2VEC: (
        "from model2vec import StaticModel",
        "",
        'vectors = StaticModel.from_pretrained("path/to/this/folder").encode(["a text"])',
    ),
    SENTENCE_TRANSFORMERS: (
        "from sentence_transformers import SentenceTransformer",
        "",
        'vectors = SentenceTransformer("path/to/this/folder").encode(["a text"])',
    ),
}


def write_card(
    folder: Path,
    card: Mapping[str, Any],
    *,
    facts: Mapping[str, object],
    library: str = MODEL2VEC,
) -> None:
    """Writes README.md. ``library`` is the one that reads the folder: ``model2vec`` or
    ``sentence-transformers``.

    ``card`` may hold ``title``, ``description``, ``base_model`` (its Hub id goes into the metadata;
    any other name only into the text), ``language``, ``license``, ``tags``, ``metrics`` (name ->
    figure) and ``sections`` (a sequence of (title, rows), rows being (name, value) pairs).
    ``facts`` is the table that opens the card.
    """
    from huggingface_hub import ModelCardData

    base = card.get("base_model")
    data = ModelCardData(
        library_name=library,
        pipeline_tag="sentence-similarity",
        tags=list(dict.fromkeys((*TAGS[library], *map(str, card.get("tags", ()))))),
        base_model=base if isinstance(base, str) and _HUB_ID.fullmatch(base) else None,
        language=card.get("language"),
        license=card.get("license"),
        # No dataset names, no results block: the Hub would check those against its own lists.
    )
    title, description = _DEFAULTS[library]
    lines = [f"# {escape(card.get('title') or title)}", ""]
    lines += [escape(card.get("description") or description), ""]
    if base:
        lines += [f"Distilled from {escape(base)}.", ""]
    lines += table(("Property", ""), _figures(facts.items()))
    lines += ["## Use", "", "```python", *_USE[library], "```", ""]
    if card.get("metrics"):
        lines += ["## Metrics", "", *table(("Metric", ""), _figures(card["metrics"].items()))]
    sections: Sequence[tuple[str, Sequence[tuple[str, object]]]] = card.get("sections", ())
    for title, rows in sections:
        lines += [f"## {escape(title)}", "", *table(("", ""), _figures(rows))]
    text = f"---\n{data.to_yaml()}\n---\n\n" + "\n".join(lines).rstrip() + "\n"
    (folder / CARD).write_text(text, encoding="utf-8")


def add_fidelity(folder: Path, report: Mapping[str, Any], picture: str | None = None) -> None:
    """Puts the section "Fidelity" at the end of README.md, in place of one that is there.

    ``report`` has the keys of the package ``fidelity``, and perhaps ``corpus``, a mapping of facts
    about the texts. ``picture`` is a file of the folder that shows it.
    """
    path = folder / CARD
    text = path.read_text(encoding="utf-8").partition(_FIDELITY)[0].rstrip()
    section = "\n".join(["## Fidelity", "", *fidelity_section(report, picture)]).rstrip()
    path.write_text(f"{text}\n{_FIDELITY}{section}\n", encoding="utf-8")


def _figures(pairs: Iterable[tuple[str, object]]) -> list[tuple[str, object]]:
    return [(k, f"{v:.4g}" if isinstance(v, float) else v) for k, v in pairs]
