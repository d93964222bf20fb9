"""README.md as the Hub wants it: the version's own card, with metadata that the Hub understands."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CARD = "README.md"
MANIFEST = "stillroom.json"
MAX_CARD_BYTES = 1 << 20
_FRONT = re.compile(r"\A---[ \t]*\r?\n(.*?)^---[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class CardFacts:
    """What the Hub is to know. ``metrics`` are names that it knows; ``base_model`` is a repository
    of it."""

    title: str
    library_name: str
    pipeline_tag: str
    base_model: str | None = None
    metrics: tuple[str, ...] = ()
    tags: tuple[str, ...] = ("stillroom",)


def with_metadata(card: bytes | None, facts: CardFacts) -> bytes:
    """``card`` with those facts in its metadata that it does not state itself; the rest of it stays
    as it is, and so does all of it where nothing is missing. A new one if there is none."""
    import yaml

    if card is not None and len(card) > MAX_CARD_BYTES:
        return card  # no card that anybody wrote
    text = "" if card is None else card.decode("utf-8", "replace")
    text = text.removeprefix("\ufeff")
    found = _FRONT.match(text)
    body = text[found.end() :] if found else text
    stated = _read(found.group(1) if found else "")
    wanted = {
        "library_name": facts.library_name,
        "pipeline_tag": facts.pipeline_tag,
        "base_model": facts.base_model,
        "metrics": list(facts.metrics) or None,
    }
    # What somebody wrote stays: it may be a more specific truth.
    missing = {
        key: value
        for key, value in wanted.items()
        if value is not None and not (stated or {}).get(key)
    }
    tags = (stated or {}).get("tags")
    known = [tags] if isinstance(tags, str) else list(tags or ())
    if new := [tag for tag in facts.tags if tag not in known]:
        missing["tags"] = [*known, *new]
    if card is not None and stated is not None and not missing:
        return card
    front = yaml.safe_dump({**(stated or {}), **missing}, sort_keys=False, allow_unicode=True)
    if not body.strip():
        body = f"\n# {facts.title}\n"
    return f"---\n{front}---\n{body}".encode()


def _read(front: str) -> dict[str, Any] | None:
    """The metadata; None if they cannot be read, and are to be written anew."""
    import yaml

    try:
        value = yaml.safe_load(front)
    except (yaml.YAMLError, ValueError, RecursionError):
        return None
    if value is None:
        return {}
    return value if isinstance(value, dict) else None


def resealed(manifest: bytes, card: bytes) -> bytes:
    """stillroom.json with the digest of the card that goes along; as it is if it names none."""
    try:
        body: Any = json.loads(manifest)
        listed = body["files"]
        known = CARD in listed
    except (ValueError, KeyError, TypeError):
        return manifest
    digest = hashlib.sha256(card).hexdigest()
    if not known or listed[CARD] == digest:
        return manifest
    body["files"] = {**listed, CARD: digest}
    return (json.dumps(body, indent=2, ensure_ascii=False) + "\n").encode()


def facts_of(
    name: str, kind: str, paths: frozenset[str], metadata: Mapping[str, Any], base: str | None
) -> CardFacts:
    """The facts of a version called ``name`` with files at ``paths``; see ``base_model``."""
    title = name.removeprefix("models/").replace("/versions/", " ")
    if kind == "classifier":
        return CardFacts(title, "stillroom", "text-classification", base, _classifier(metadata))
    if kind == "student":
        made = {metadata.get("recipe"), metadata.get("layout")}
        deep = bool(made & {"transformer", "stillroom-transformer"})
        library = "sentence-transformers" if deep else "model2vec"
        return CardFacts(title, library, "sentence-similarity", base, _fidelity(metadata))
    library = "sentence-transformers" if "modules.json" in paths else "transformers"
    return CardFacts(title, library, "sentence-similarity", base)


def _fidelity(metadata: Mapping[str, Any]) -> tuple[str, ...]:
    report = metadata.get("report")
    known = isinstance(report, Mapping) and report.get("similarity_spearman") is not None
    return ("spearmanr",) if known else ()


def _classifier(metadata: Mapping[str, Any]) -> tuple[str, ...]:
    return ("accuracy", "f1") if metadata.get("quality") else ()
