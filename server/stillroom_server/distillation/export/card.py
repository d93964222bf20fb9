"""README.md: the model card, with metadata as the Hub reads it. Every text in it is escaped."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_MARKDOWN = re.compile(r"([\\`*_{}\[\]#|~$]|^[-+]|(?<=^\d)[.)](?= ))")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
TAGS = ("embeddings", "static-embeddings", "sentence-transformers", "model2vec", "stillroom")


def escape(text: object) -> str:
    """One line that Markdown and HTML both show as it is written."""
    line = " ".join(str(text).split())
    escaped = html.escape(_MARKDOWN.sub(r"\\\1", line), quote=True)
    return escaped.replace("://", "&#58;//").replace("www.", "www&#46;")  # GitHub links bare ones


def write_card(folder: Path, card: Mapping[str, Any], *, facts: Mapping[str, object]) -> None:
    """Writes README.md.

    ``card`` may hold ``title``, ``description``, ``base_model`` (its Hub id goes into the metadata;
    any other name only into the text), ``language``, ``license``, ``tags``, ``metrics`` (name ->
    figure) and ``sections`` (a sequence of (title, rows), rows being (name, value) pairs, for the
    fidelity report). ``facts`` is the table that opens the card.
    """
    from huggingface_hub import ModelCardData

    base = card.get("base_model")
    data = ModelCardData(
        library_name="model2vec",
        pipeline_tag="sentence-similarity",
        tags=list(dict.fromkeys((*TAGS, *map(str, card.get("tags", ()))))),
        base_model=base if isinstance(base, str) and _HUB_ID.fullmatch(base) else None,
        language=card.get("language"),
        license=card.get("license"),
        # No dataset names, no results block: the Hub would check those against its own lists.
    )
    lines = [f"# {escape(card.get('title') or 'A static student')}", ""]
    lines += [
        escape(
            card.get("description")
            or "A static sentence-embedding student: a vector for each token, averaged."
        ),
        "",
    ]
    if base:
        lines += [f"Distilled from {escape(base)}.", ""]
    lines += _table("Property", facts.items())
    lines += ["## Use", "", "```python", *_USE, "```", ""]
    if card.get("metrics"):
        lines += ["## Metrics", "", *_table("Metric", card["metrics"].items())]
    sections: Sequence[tuple[str, Sequence[tuple[str, object]]]] = card.get("sections", ())
    for title, rows in sections:
        lines += [f"## {escape(title)}", "", *_table("", rows)]
    text = f"---\n{data.to_yaml()}\n---\n\n" + "\n".join(lines).rstrip() + "\n"
    (folder / "README.md").write_text(text, encoding="utf-8")


_USE = (
    "from model2vec import StaticModel",
    "",
    'vectors = StaticModel.from_pretrained("path/to/this/folder").encode(["a text"])',
)


def _table(head: str, rows: Any) -> list[str]:
    body = [f"| {escape(name)} | {_figure(value)} |" for name, value in rows]
    return [f"| {escape(head)} | |", "|---|---|", *body, ""]


def _figure(value: object) -> str:
    return escape(f"{value:.4g}" if isinstance(value, float) else value)
