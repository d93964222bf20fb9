"""Tokenizers that nobody vouches for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from distillation.export.tiny import TOKENIZERS, wordpiece
from tokenizers import Regex, pre_tokenizers

from stillroom_registry.errors import InvalidArgument
from stillroom_server.imports.probe import probe_tokenizer


@pytest.mark.parametrize(
    ("family", "model", "unk_id"),
    [("wordpiece", "WordPiece", 1), ("bpe", "BPE", None), ("unigram", "Unigram", 3)],
)
def test_good_tokenizers(tmp_path: Path, family: str, model: str, unk_id: int | None) -> None:
    tokenizer = TOKENIZERS[family]()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    found = probe_tokenizer(tmp_path / "tokenizer.json")
    assert (found.model, found.unk_id) == (model, unk_id)
    assert found.vocabulary == tokenizer.get_vocab_size()


@pytest.mark.parametrize("content", [b"", b"{}", b'{"model": {"type": "Odd"}}', b"\xff\xfe"])
def test_no_tokenizer(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(InvalidArgument) as caught:
        probe_tokenizer(tmp_path / "tokenizer.json")
    assert caught.value.reason == "TOKENIZER_PROBE_FAILED"
    assert caught.value.metadata["cause"] == "error"


def save_with_pattern(path: Path, pattern: str) -> None:
    tokenizer = wordpiece()
    tokenizer.normalizer = None
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), "isolated")
    tokenizer.save(str(path))


def test_a_tokenizer_that_panics(tmp_path: Path) -> None:
    """Onig gives up on this one, and tokenizers makes that a panic, which is no Exception."""
    save_with_pattern(tmp_path / "tokenizer.json", r"(a|a|aa)+$b")
    with pytest.raises(InvalidArgument) as caught:
        probe_tokenizer(tmp_path / "tokenizer.json")
    assert caught.value.metadata["cause"] == "crash"


def test_a_tokenizer_that_hangs(tmp_path: Path) -> None:
    """A million steps at each letter, which is below the limit at which Onig gives up."""
    save_with_pattern(tmp_path / "tokenizer.json", r"(?:a|a){19}(?=[^a!])")
    waits: list[None] = []
    with pytest.raises(InvalidArgument) as caught:
        probe_tokenizer(
            tmp_path / "tokenizer.json", time_limit=2.0, on_wait=lambda: waits.append(None)
        )
    assert caught.value.reason == "TOKENIZER_PROBE_FAILED"
    assert caught.value.metadata["cause"] == "timeout"
    assert waits


def test_a_tokenizer_that_eats_the_memory(tmp_path: Path) -> None:
    """One letter becomes a kilobyte, which becomes a megabyte, which becomes too much."""
    tokenizer = json.loads(wordpiece().to_str())
    replace = [
        {"type": "Replace", "pattern": {"String": a}, "content": b * 1000}
        for a, b in (("x", "y"), ("y", "z"), ("z", "w"))
    ]
    tokenizer["normalizer"] = {"type": "Sequence", "normalizers": replace}
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(InvalidArgument) as caught:
        probe_tokenizer(tmp_path / "tokenizer.json", memory_limit=1 << 30, time_limit=20)
    assert caught.value.reason == "TOKENIZER_PROBE_FAILED"
    assert caught.value.metadata["cause"] in ("crash", "error")


def test_waiting_can_be_cut_short(tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def stop() -> None:
        raise Stop

    wordpiece().save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(Stop):
        probe_tokenizer(tmp_path / "tokenizer.json", on_wait=stop)
