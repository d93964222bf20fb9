from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from inference.students import write_student
from stillroom_server.inference.tokenizers import choose
from stillroom_server.inference.tokenizers.equality import check_texts


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plain student: WordPiece, float32, 24 dimensions, no ONNX file, two prompts."""
    return write_student(
        tmp_path_factory.mktemp("student"),
        config={"prompts": {"query": "please help me: ", "none": ""}},
    )


@pytest.fixture(scope="session", autouse=True)
def _short_check() -> Iterator[None]:
    """Try a tokenizer on some hundred texts instead of 10,000: one test does it all."""

    def few(vocabulary: Sequence[str]) -> list[str]:
        return check_texts(vocabulary, 300)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choose, "check_texts", few)
        yield
