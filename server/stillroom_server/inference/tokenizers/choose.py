"""Which tokenizer engine serves a tokenizer.json: the fastest that equals the reference."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from stillroom_registry.errors import InvalidArgument
from stillroom_server.inference.tokenizers.base import Tokenizer, TokenizerFactory, Unsupported
from stillroom_server.inference.tokenizers.equality import check_texts, difference
from stillroom_server.inference.tokenizers.huggingface import HuggingFaceTokenizer
from stillroom_server.inference.tokenizers.nano import NanoTokenizer
from stillroom_server.inference.tokenizers.paired import PairedTokenizer
from stillroom_server.inference.verdicts import MemoryVerdicts, Verdicts, versions

REFERENCE = HuggingFaceTokenizer.name
AUTO = "auto"
_CHECK_REVISION = 1  # raise when its texts or our engines change, so that old verdicts lapse


class FastEngine(NamedTuple):
    """An engine that must prove itself: how to build it, and what its behavior depends on."""

    build: TokenizerFactory
    distributions: tuple[str, ...]


FAST_ENGINES: dict[str, FastEngine] = {
    PairedTokenizer.name: FastEngine(PairedTokenizer, ("nanotoken", "daachorse")),
    NanoTokenizer.name: FastEngine(NanoTokenizer, ("nanotoken",)),
}
"""Candidates by name, the preferred first."""

_this_process = MemoryVerdicts()


@dataclass(frozen=True, slots=True)
class ChosenTokenizer:
    """The engine that serves and, for people, why it was chosen."""

    engine: Tokenizer
    reason: str


def choose_tokenizer(
    tokenizer_json: str,
    name: str = AUTO,
    *,
    verdicts: Verdicts = _this_process,
    engines: Mapping[str, FastEngine] = FAST_ENGINES,
) -> ChosenTokenizer:
    """Build the engine ``name``, or with "auto" the first fast one that equals the reference.

    A fast engine never serves unchecked, not even by name: it falls back with the reason. The check
    takes about a second; its verdict is kept in ``verdicts`` by the digest of the tokenizer and the
    versions of the libraries. Raises InvalidArgument for an unknown name and Unsupported when even
    the reference cannot load the tokenizer.
    """
    if name not in (AUTO, REFERENCE) and name not in engines:
        raise InvalidArgument(
            f"Unknown tokenizer engine {name!r}; choose auto, {REFERENCE} or {', '.join(engines)}.",
            reason="UNKNOWN_TOKENIZER_ENGINE",
            field="tokenizer",
        )
    if name == REFERENCE:
        return ChosenTokenizer(HuggingFaceTokenizer(tokenizer_json), "asked for")
    refusals = []
    for candidate in engines if name == AUTO else (name,):
        try:
            engine = engines[candidate].build(tokenizer_json)
        except Unsupported as failure:
            refusals.append(str(failure))
            continue
        outcome = _verdict(engine, engines[candidate], tokenizer_json, verdicts)
        if outcome["equal"] == "yes":
            return ChosenTokenizer(engine, outcome["reason"])
        refusals.append(outcome["reason"])
    return ChosenTokenizer(HuggingFaceTokenizer(tokenizer_json), "; ".join(filter(None, refusals)))


def _verdict(
    engine: Tokenizer, spec: FastEngine, tokenizer_json: str, verdicts: Verdicts
) -> Mapping[str, str]:
    digest = hashlib.sha256(tokenizer_json.encode()).hexdigest()
    libraries = versions("tokenizers", *spec.distributions)
    key = f"tokenizer {engine.name} {_CHECK_REVISION} {libraries} {digest}"
    known = _this_process.get(key) or verdicts.get(key)
    if known is None or not {"equal", "reason"} <= known.keys():
        known = _check(engine, tokenizer_json)
        verdicts.put(key, known)
    _this_process.put(key, known)
    return known


def _check(engine: Tokenizer, tokenizer_json: str) -> Mapping[str, str]:
    reference = HuggingFaceTokenizer(tokenizer_json)
    texts = check_texts(_pieces(tokenizer_json))
    found = difference(engine, reference, texts)
    if found is None:
        return {"equal": "yes", "reason": f"same ids as {REFERENCE} on {len(texts):,} texts"}
    text, what = found
    return {"equal": "no", "reason": f"{engine.name} differs on {text[:40]!a}: {what}"}


def _pieces(tokenizer_json: str) -> list[str]:
    """The strings that the check builds words of: vocabulary and added tokens, in a fixed order."""
    spec = json.loads(tokenizer_json)
    vocabulary = spec["model"].get("vocab") or {}
    pieces = vocabulary if isinstance(vocabulary, dict) else [entry[0] for entry in vocabulary]
    return sorted(pieces) + [token["content"] for token in spec.get("added_tokens") or ()]
