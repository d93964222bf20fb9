"""Text in a model card: Markdown that shows it as it was written."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence

_MARKDOWN = re.compile(r"([\\`*_{}\[\]#|~$]|^[-+]|(?<=^\d)[.)](?= ))")


def escape(text: object) -> str:
    """One line that Markdown and HTML both show as it is written."""
    line = " ".join(str(text).split())
    escaped = html.escape(_MARKDOWN.sub(r"\\\1", line), quote=True)
    return escaped.replace("://", "&#58;//").replace("www.", "www&#46;")  # GitHub links bare ones


def table(head: Sequence[object], rows: Iterable[Sequence[object]]) -> list[str]:
    """The lines of a table, a blank one last; none without rows."""
    body = [_row(cells) for cells in rows]
    return [_row(head), "|" + "---|" * len(head), *body, ""] if body else []


def _row(cells: Sequence[object]) -> str:
    return "".join(f"| {escape(cell)} " for cell in cells) + "|"
