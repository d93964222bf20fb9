"""What serving must know of a tokenizer.json: its number of ids and its unknown token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from stillroom_server.inference.files import FolderReader

FILE = "tokenizer.json"


class Vocabulary(NamedTuple):
    """``size``: highest id + 1, added tokens included; ``text``: the file; ``spec``: its JSON."""

    size: int
    unk_id: int | None
    text: str
    spec: Mapping[str, Any]


def read_vocabulary(reader: FolderReader, max_bytes: int) -> Vocabulary:
    """Read tokenizer.json; raises ``reader.blame``, TOKENIZER_INVALID when it is none."""
    text = reader.text(FILE, max_bytes)
    spec = reader.parse(FILE, text)
    try:
        ids = _ids(spec)
        unk_id = _unknown_id(spec["model"], ids)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as failure:
        problem = f"has no vocabulary of strings and ids ({failure!r})"
        raise reader.error(FILE, problem, "TOKENIZER_INVALID") from failure
    return Vocabulary(max(ids.values()) + 1, unk_id, text, spec)


def _ids(spec: Mapping[str, Any]) -> dict[str, int]:
    vocabulary = spec["model"]["vocab"]
    if isinstance(vocabulary, list):  # Unigram: [token, score] by id
        ids = {entry[0]: index for index, entry in enumerate(vocabulary)}
    else:
        ids = dict(vocabulary.items())
    for token in spec.get("added_tokens") or ():
        ids[token["content"]] = token["id"]
    if not ids:
        raise ValueError("it is empty")
    if not all(type(index) is int for index in ids.values()) or min(ids.values()) < 0:
        raise ValueError("an id is not a natural number")
    return ids


def _unknown_id(model: Mapping[str, Any], ids: Mapping[str, int]) -> int | None:
    if model.get("unk_id") is not None:  # Unigram
        index = model["unk_id"]
        if type(index) is not int or not 0 <= index < len(model["vocab"]):
            raise ValueError("unk_id is out of range")
        return index
    token = model.get("unk_token")
    return None if token is None else ids.get(token)
