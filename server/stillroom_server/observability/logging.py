"""One log for us and for the libraries: structlog's lines and those of stdlib logging come out of
the same handler, in the same form."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Literal, TextIO

import structlog

from stillroom_registry.errors import InvalidArgument
from stillroom_server.observability.redaction import redact

LogFormat = Literal["json", "console", "auto"]
_FORMATS = ("json", "console", "auto")
_LEVELS = ("debug", "info", "warning", "error", "critical")
# Control characters could forge lines or move the cursor of whoever reads the log.
_VISIBLE = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}


class StillroomHandler(logging.StreamHandler[TextIO]):
    """Ours: the one that ``configure`` replaces."""


def configure(
    format: LogFormat = "auto",  # noqa: A002
    level: str = "info",
    *,
    stream: TextIO | None = None,
) -> None:
    """Log to ``stream`` (stderr): JSON lines for machines, columns for people, ``auto`` by whether
    a terminal reads.

    A JSON line has timestamp (UTC, ISO 8601), level, event and logger, and the pairs that were
    passed. Calling it again replaces what the first call set up; handlers of others stay. Raises
    InvalidArgument for an unknown format or level.
    """
    if format not in _FORMATS:
        raise _unknown("log_format", format, _FORMATS)
    if level.lower() not in _LEVELS:
        raise _unknown("log_level", level, _LEVELS)
    target = stream or sys.stderr
    console = format == "console" or (format == "auto" and target.isatty())

    # Run for both sources, before the record is handed to the handler.
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    handler = StillroomHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.StackInfoRenderer(),
                # As text and without local variables, which hold what must not be printed.
                structlog.processors.format_exc_info,
                _redacted,
                *_renderer(console, target),
            ],
        )
    )
    root = logging.getLogger()
    for old in [h for h in root.handlers if isinstance(h, StillroomHandler)]:
        root.removeHandler(old)
        old.close()
    root.addHandler(handler)
    root.setLevel(level.upper())
    logging.captureWarnings(True)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        # Loggers made before this call, or before the next, follow it.
        cache_logger_on_first_use=False,
    )


def _renderer(console: bool, target: TextIO) -> list[structlog.typing.Processor]:
    if not console:
        return [structlog.processors.JSONRenderer(default=repr)]
    return [
        _on_one_line,
        structlog.dev.ConsoleRenderer(
            colors=target.isatty(), exception_formatter=structlog.dev.plain_traceback
        ),
    ]


def _redacted(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    return {key: redact(value, key) for key, value in event.items()}


def _on_one_line(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    return {
        key: value.translate(_VISIBLE)
        if isinstance(value, str) and key not in ("exception", "stack")
        else value
        for key, value in event.items()
    }


def _unknown(field: str, given: str, known: tuple[str, ...]) -> InvalidArgument:
    return InvalidArgument(
        f"{field} is {given!r}; pass one of {', '.join(known)}.",
        reason=f"INVALID_{field.upper()}",
        field=field,
    )
