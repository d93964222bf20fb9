"""Tokens: who is let in, and that nothing tells them to anybody."""

from __future__ import annotations

import copy
import dataclasses
import hmac
import json
import pickle
from pathlib import Path

import pytest

from stillroom_registry.errors import FailedPrecondition, InvalidArgument, Unauthenticated
from stillroom_server.security.tokens import Secret, TokenFile, Tokens

ALICE, BOB = "alice-0123456789abcdef", "bob.~+/=0123456789"
FILE = f"""# who may ask
alice {ALICE}

  bob\t{BOB}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "tokens"
    path.touch(mode=0o600)
    return path


@pytest.fixture
def tokens(path: Path) -> Tokens:
    path.write_text(FILE)
    return TokenFile.load(path)


@pytest.mark.parametrize("form", ["Bearer {}", "bearer {}", "BEARER   {}", " Bearer {} "])
@pytest.mark.parametrize("as_bytes", [False, True])
def test_the_holder_of_a_token_is_known(tokens: Tokens, form: str, as_bytes: bool) -> None:
    for name, token in (("alice", ALICE), ("bob", BOB)):
        header = form.format(token)
        assert tokens.identify(header.encode() if as_bytes else header) == name
    assert tokens.names == ("alice", "bob")
    assert tokens.warnings == ()


@pytest.mark.parametrize("header", [None, "", b"", "Bearer", "Bearer ", f"Basic {ALICE}", ALICE])
def test_no_token_is_told_apart(tokens: Tokens, header: str | bytes | None) -> None:
    with pytest.raises(Unauthenticated) as caught:
        tokens.identify(header)
    assert caught.value.reason == "TOKEN_MISSING"
    assert ALICE not in str(caught.value)


@pytest.mark.parametrize(
    "token",
    [
        ALICE[:-1],
        ALICE + "x",
        ALICE.upper(),
        "alice",
        f"{ALICE} {BOB}",
        "no-such-token-at-all",
        "é" * 20,
        "\udcff" * 20,
        "x" * 100_000,
    ],
)
def test_an_unknown_token_is_refused_and_not_echoed(tokens: Tokens, token: str) -> None:
    with pytest.raises(Unauthenticated) as caught:
        tokens.identify(f"Bearer {token}")
    assert caught.value.reason == "TOKEN_UNKNOWN"
    shown = f"{caught.value.message} {caught.value.metadata}"
    assert token not in shown


@pytest.mark.parametrize("content", ["", "\n\n", "# alice 0123456789abcdef0\n"])
def test_an_empty_file_denies_everybody(path: Path, content: str) -> None:
    path.write_text(content)
    tokens = TokenFile.load(path)
    for header in (None, "Bearer ", f"Bearer {ALICE}", "Bearer 0123456789abcdef0"):
        with pytest.raises(Unauthenticated):
            tokens.identify(header)


def test_every_token_is_compared(tokens: Tokens, monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []

    def compare(a: bytes, b: bytes) -> bool:
        compared.append(b)
        return a == b

    monkeypatch.setattr(hmac, "compare_digest", compare)
    assert tokens.identify(f"Bearer {ALICE}") == "alice"
    assert len(compared) == 2


def test_no_token_is_kept(tokens: Tokens) -> None:
    kept = pickle.dumps(tokens) + repr(tokens).encode() + repr(dataclasses.asdict(tokens)).encode()
    assert ALICE.encode() not in kept
    assert BOB.encode() not in kept


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("alice", "line 2 is not"),
        (f"alice {ALICE} extra", "line 2 is not"),
        (f"Alice {ALICE}", "the name on line 2"),
        (f"-x {ALICE}", "the name on line 2"),
        (f"älice {ALICE}", "the name on line 2"),
        (f"{'a' * 128} {ALICE}", "the name on line 2"),
        ("alice 0123456789abcde", "at least 16"),
        ("alice 0123456789abcdefé", "printable ASCII"),
        (f"alice {ALICE}\nalice {BOB}", "line 3 names alice again"),
        (f"alice {ALICE}\nbob {ALICE}", "line 3 repeats"),
    ],
)
def test_a_bad_line_is_named_and_not_echoed(path: Path, line: str, what: str) -> None:
    path.write_text("# first\n" + line + "\n")
    with pytest.raises(InvalidArgument, match=what) as caught:
        TokenFile.load(path)
    assert (caught.value.reason, caught.value.field) == ("INVALID_TOKEN_FILE", "token_file")
    assert str(path) in caught.value.message
    assert ALICE not in caught.value.message
    assert "0123456789" not in caught.value.message


def test_sixteen_characters_are_enough(path: Path) -> None:
    path.write_text("a 0123456789abcdef")
    assert TokenFile.load(path).identify("Bearer 0123456789abcdef") == "a"


def test_what_is_no_text_is_refused(path: Path) -> None:
    path.write_bytes(b"alice \xff\xfe0123456789abcdef\n")
    with pytest.raises(InvalidArgument, match="UTF-8"):
        TokenFile.load(path)
    path.write_bytes(b"# " + b"x" * (1 << 20))
    with pytest.raises(InvalidArgument, match="more than 1048576 bytes"):
        TokenFile.load(path)


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "absent", tmp_path):
        with pytest.raises(FailedPrecondition) as caught:
            TokenFile.load(path)
        assert str(path) in caught.value.message
        assert caught.value.reason == "TOKEN_FILE_UNREADABLE"


@pytest.mark.parametrize(("mode", "warned"), [(0o600, 0), (0o640, 0), (0o604, 1), (0o602, 1)])
def test_a_file_for_everybody_is_warned_of(path: Path, mode: int, warned: int) -> None:
    path.write_text(FILE)
    path.chmod(mode)
    tokens = TokenFile.load(path)
    assert len(tokens.warnings) == warned
    assert all(f"chmod 600 {path}" in warning for warning in tokens.warnings)
    assert tokens.identify(f"Bearer {ALICE}") == "alice"


class TestSecret:
    def test_it_prints_as_stars(self) -> None:
        secret = Secret(ALICE)

        @dataclasses.dataclass
        class Holder:
            secret: Secret

        shown = [
            str(secret),
            repr(secret),
            f"{secret}",
            f"{secret:>40}",
            f"{secret!r}",
            "%s" % secret,  # noqa: UP031
            "{}".format(secret),  # noqa: UP032
            repr([secret]),
            repr(Holder(secret)),
            json.dumps({"secret": secret}, default=repr),
            repr(dataclasses.asdict(Holder(secret))),
            repr(dir(secret)),
        ]
        for text in shown:
            assert ALICE not in text
            assert "***" in text or text == repr(dir(secret))
        assert secret.reveal() == ALICE

    def test_it_is_not_serialized(self) -> None:
        with pytest.raises(TypeError):
            pickle.dumps(Secret(ALICE))
        with pytest.raises(TypeError):
            vars(Secret(ALICE))

    def test_it_compares_by_value_and_only_with_its_like(self) -> None:
        assert Secret("a") == Secret("a")
        assert Secret("a") != Secret("b")
        assert Secret("é") == Secret("é")
        assert Secret("a") != "a"
        assert len({Secret("a"), Secret("a"), Secret("b")}) == 2
        assert copy.deepcopy(Secret("a")) == Secret("a")
        assert (bool(Secret("")), bool(Secret("a"))) == (False, True)
