"""The documents as data: links, blocks of code, rows of tables."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]*`")
_LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A block of code; ``language`` is that of its fence."""

    page: Path
    language: str
    text: str


def blocks(language: str, pages: list[Path] = PAGES) -> list[Block]:
    """Every block in ``language``, in order."""
    return [
        Block(page, *found)
        for page in pages
        for found in _FENCE.findall(page.read_text())
        if found[0] == language
    ]


def links(page: Path) -> list[str]:
    """The targets of its links, code left out."""
    return _LINK.findall(_CODE.sub("", _FENCE.sub("", page.read_text())))


def anchors(page: Path) -> set[str]:
    """What ``#...`` may name in a page, as GitHub makes it of the headings."""
    kept = re.compile(r"[^\w\- ]")
    return {
        kept.sub("", head.lower()).replace(" ", "-") for head in _HEADING.findall(page.read_text())
    }


def rows(page: Path) -> Iterator[tuple[str, ...]]:
    """The rows of all tables, cells stripped; heads and rules included."""
    for line in page.read_text().splitlines():
        if line.startswith("|"):
            yield tuple(cell.strip() for cell in line.strip("|").split("|"))


def commands(language: str = "sh", pages: list[Path] = PAGES) -> Iterator[tuple[Path, str]]:
    """Each command line in the blocks of ``language``, comments cut and continuations joined."""
    for block in blocks(language, pages):
        for line in block.text.replace("\\\n", " ").splitlines():
            if command := re.sub(r"(^|\s)#.*", "", line).strip():
                yield block.page, command
