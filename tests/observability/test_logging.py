"""The log: one form for all, once, and without secrets."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
import structlog

from stillroom_registry.errors import InvalidArgument
from stillroom_server.observability.logging import StillroomHandler, configure
from stillroom_server.observability.redaction import is_sensitive, redact
from stillroom_server.security.secret import Secret

HIDDEN = "s3cr3t-s3cr3t-s3cr3t"


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    root = logging.getLogger()
    level = root.level
    yield
    for handler in [h for h in root.handlers if isinstance(h, StillroomHandler)]:
        root.removeHandler(handler)
    root.setLevel(level)
    logging.captureWarnings(False)
    structlog.reset_defaults()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.fixture
def stream() -> io.StringIO:
    stream = io.StringIO()
    configure("json", "info", stream=stream)
    return stream


def test_our_lines_and_those_of_libraries_have_one_form(stream: io.StringIO) -> None:
    structlog.get_logger("stillroom.x").info("model loaded", model="m", dimensions=256)
    logging.getLogger("library.y").warning("slow by %d ms", 7, extra={"peer": "p"})
    ours, theirs = lines(stream)
    assert (ours["event"], ours["level"], ours["logger"]) == ("model loaded", "info", "stillroom.x")
    assert (ours["model"], ours["dimensions"]) == ("m", 256)
    assert (theirs["event"], theirs["level"]) == ("slow by 7 ms", "warning")
    assert (theirs["logger"], theirs["peer"]) == ("library.y", "p")
    for line in (ours, theirs):
        assert datetime.fromisoformat(line["timestamp"]).utcoffset() == timedelta(0)


def test_configuring_again_replaces(stream: io.StringIO) -> None:
    log = structlog.get_logger("a")
    log.info("to the first")
    second = io.StringIO()
    for _ in range(3):
        configure("json", "warning", stream=second)
    log.warning("once")
    logging.getLogger("b").warning("once, too")
    log.info("below the level")
    logging.getLogger("b").info("below the level")
    assert [line["event"] for line in lines(second)] == ["once", "once, too"]
    assert [line["event"] for line in lines(stream)] == ["to the first"]


def test_handlers_of_others_stay() -> None:
    other = logging.NullHandler()
    logging.getLogger().addHandler(other)
    try:
        configure("json", "info", stream=io.StringIO())
        assert other in logging.getLogger().handlers
    finally:
        logging.getLogger().removeHandler(other)


def test_stderr_is_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    configure("json", "info")
    structlog.get_logger("a").info("here")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert json.loads(captured.err)["event"] == "here"


def test_auto_asks_whether_a_terminal_reads() -> None:
    pipe, terminal = io.StringIO(), Terminal()
    configure("auto", "info", stream=pipe)
    structlog.get_logger("a").info("hello")
    configure("auto", "info", stream=terminal)
    structlog.get_logger("a").info("hello")
    assert lines(pipe)[0]["event"] == "hello"
    assert "hello" in terminal.getvalue()
    with pytest.raises(json.JSONDecodeError):
        lines(terminal)


def test_context_of_the_request_is_added(stream: io.StringIO) -> None:
    with structlog.contextvars.bound_contextvars(method="Embed"):
        structlog.get_logger("a").info("ours")
        logging.getLogger("b").info("theirs")
    assert [line["method"] for line in lines(stream)] == ["Embed", "Embed"]


def test_an_exception_is_told_without_its_variables(stream: io.StringIO) -> None:
    def fail() -> None:
        password = HIDDEN.upper()
        raise ValueError(f"{len(password)} sent Bearer {HIDDEN}")

    for log in (structlog.get_logger("a"), logging.getLogger("b")):
        try:
            fail()
        except ValueError:
            log.exception("failed")
    for line in lines(stream):
        assert "Traceback" in line["exception"]
        assert "ValueError: 20 sent Bearer ********" in line["exception"]
        assert HIDDEN.upper() not in line["exception"]
    assert len(lines(stream)) == 2


@pytest.mark.parametrize("form", ["json", "console"])
@pytest.mark.parametrize(
    "pairs",
    [
        {"found": Secret(HIDDEN)},
        {"token": HIDDEN},
        {"Authorization": f"Bearer {HIDDEN}"},
        {"hub_token": HIDDEN.encode()},
        {"settings": {"nested": [{"db_password": HIDDEN}, Secret(HIDDEN)]}},
        {"metadata": (("user-agent", "x"), ("authorization", HIDDEN))},
        {"metadata": [(b"authorization", HIDDEN.encode())]},
        {"header": f"got bearer {HIDDEN}"},
        {"raw": f"Bearer {HIDDEN}".encode()},
        {"other": type("Odd", (), {"__repr__": lambda _: f"Odd(Bearer {HIDDEN})"})()},
    ],
)
def test_secrets_are_stars(form: Any, pairs: dict[str, Any]) -> None:
    stream = io.StringIO()
    configure(form, "info", stream=stream)
    structlog.get_logger("a").info("ours", **pairs)
    logging.getLogger("b").info("theirs", extra=pairs)
    structlog.get_logger("a").bind(**pairs).info("bound")
    text = stream.getvalue()
    assert HIDDEN not in text
    assert text.count("********") >= 3


def test_a_secret_within_the_message_is_stars(stream: io.StringIO) -> None:
    logging.getLogger("b").info("with %s and %r", Secret(HIDDEN), Secret(HIDDEN))
    structlog.get_logger("a").info(f"sent Bearer {HIDDEN}")
    assert [line["event"] for line in lines(stream)] == [
        "with ******** and Secret(********)",
        "sent Bearer ********",
    ]


@pytest.mark.parametrize(
    "key",
    ["token", "Authorization", "x-api-key", "apiKey", "accessToken", "HUB_TOKEN", "client_secret"],
)
def test_keys_of_secrets(key: str) -> None:
    assert is_sensitive(key)


@pytest.mark.parametrize(
    "key", ["tokens", "max_tokens", "tokenizer", "key", "tokenized_texts", "secretary", "model"]
)
def test_keys_of_other_things(key: str) -> None:
    assert not is_sensitive(key)


def test_what_is_no_secret_is_kept() -> None:
    event = {"tokens": 12, "token_count": 3, "texts": ["a", None, 1.5, True], "pair": ("a", "b")}
    assert redact(event) == {**event, "pair": ["a", "b"]}
    assert redact("bearer authentication") == "bearer authentication"
    assert redact("the bearer of good news") == "the bearer of good news"


def test_a_cycle_ends() -> None:
    loop: list[Any] = []
    loop.append(loop)
    assert "..." in repr(redact(loop))


def test_what_json_does_not_know_is_still_logged(stream: io.StringIO) -> None:
    structlog.get_logger("a").info("odd", value=object, when=timedelta(seconds=1), raw=b"\xff")
    (line,) = lines(stream)
    assert "object" in line["value"]
    assert "timedelta" in line["when"]
    assert line["raw"] == "\\xff"


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_line_cannot_be_forged(form: Any) -> None:
    stream = io.StringIO()
    configure(form, "info", stream=stream)
    logging.getLogger("b").info("first\nINFO forged \x1b[2J", extra={"name_given": "x\ny\x9b"})
    assert len(stream.getvalue().splitlines()) == 1
    assert "\x1b[2J" not in stream.getvalue()
    assert "\x9b" not in stream.getvalue()


def test_warnings_are_logged(stream: io.StringIO) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(False)
        configure("json", "info", stream=stream)
        warnings.warn("odd input", UserWarning, stacklevel=1)
        logging.captureWarnings(False)
    assert any("odd input" in line["event"] for line in lines(stream))


@pytest.mark.parametrize(
    ("form", "level", "field"), [("xml", "info", "log_format"), ("json", "loud", "log_level")]
)
def test_unknown_settings_are_refused(form: Any, level: str, field: str) -> None:
    before = list(logging.getLogger().handlers)
    with pytest.raises(InvalidArgument, match="pass one of") as caught:
        configure(form, level)
    assert caught.value.field == field
    assert logging.getLogger().handlers == before
