"""What every command is given: where the server is, and how to talk to whoever asked."""

from __future__ import annotations

import json
import os
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import typer

from stillroom.cli import exits

if TYPE_CHECKING:
    from rich.console import Console

    from stillroom.client import Client
    from stillroom.connection import Connection
    from stillroom.errors import StillroomError

# The arguments of Client that have options here, as it has them when they are not given.
_NO_CONNECTION: dict[str, Any] = {
    "target": None,
    "token": None,
    "tls": None,
    "root_certificates": None,
    "client_certificate": None,
    "client_key": None,
    "allow_insecure": False,
    "timeout": 120.0,
}


class Session:
    """Results go to standard output, everything else to standard error.

    ``json_output`` makes results one JSON value a line. ``connection`` are arguments of Client.
    """

    def __init__(self, json_output: bool, connection: dict[str, Any]) -> None:
        self.json_output = json_output
        self._connection = connection

    @contextmanager
    def client(self) -> Iterator[Client]:
        """A client for this command."""
        from stillroom.client import Client

        with Client(**self._connection) as client:
            yield client

    @contextmanager
    def other_client(
        self, target: str, token: str | None, root_certificates: Path | None
    ) -> Iterator[Client]:
        """A client of another server, which is told nothing that is meant for the first one: no
        token, no certificate, nothing of the environment."""
        from stillroom._transport.blocking import BlockingTransport
        from stillroom.client import Client
        from stillroom.connection import resolve

        mine = {**_NO_CONNECTION, **self._connection}
        connection = resolve(
            target,
            token=token,
            tls=mine["tls"],
            root_certificates=root_certificates,
            client_certificate=None,
            client_key=None,
            allow_insecure=mine["allow_insecure"],
            environment={},
        )
        with Client(transport=BlockingTransport(connection), timeout=mine["timeout"]) as client:
            yield client

    def connection(self) -> tuple[Connection, float | None]:
        """Where the server is, and the seconds for a call, for commands with channels of their
        own."""
        from stillroom.connection import resolve

        given = {**_NO_CONNECTION, **self._connection}
        timeout = given.pop("timeout")
        return resolve(**given, environment=os.environ), timeout

    @cached_property
    def out(self) -> Console:
        """Standard output for people."""
        return _console(stderr=False)

    @cached_property
    def err(self) -> Console:
        """Standard error for people."""
        return _console(stderr=True)

    def emit(self, value: Any) -> None:
        """One JSON value on a line of its own, at once."""
        sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
        sys.stdout.flush()

    def say(self, text: str) -> None:
        """A remark for people; silent with JSON output."""
        if not self.json_output:
            self.err.print(safe(text))

    def table(
        self, columns: Sequence[str], rows: Iterable[Sequence[str]], *, aside: bool = False
    ) -> None:
        """A table for people; columns whose name ends on ``#`` are numbers. ``aside``: a remark
        rather than a result."""
        from rich.table import Table

        table = Table(box=None, pad_edge=False, header_style="bold")
        for place, column in enumerate(columns):
            justify: Literal["left", "right"] = "right" if column.endswith("#") else "left"
            # The first column is what people copy into the next command: it is never cut.
            table.add_column(column.rstrip("#"), justify=justify, no_wrap=place == 0)
        for row in rows:
            table.add_row(*map(safe, row))
        (self.err if aside else self.out).print(table)

    def facts(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Names and values, one pair a line, for people."""
        listed = list(pairs)
        width = max((len(name) for name, _ in listed), default=0)
        for name, value in listed:
            self.out.print(f"{name:{width}}  {safe(value)}")

    @contextmanager
    def exiting(self) -> Iterator[None]:
        """Turns errors into a message and an exit status."""
        from stillroom.errors import StillroomError

        try:
            yield
        except StillroomError as error:
            self._complain(error)
            raise typer.Exit(exits.BY_CODE[error.code]) from None
        except KeyboardInterrupt:
            raise typer.Exit(exits.INTERRUPTED) from None
        except BrokenPipeError:  # whoever read our output has left, as `head` does
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(exits.FAILURE) from None

    def _complain(self, error: StillroomError) -> None:
        from stillroom.errors import BudgetExceeded

        if self.json_output:
            from stillroom.cli import plain

            sys.stderr.write(json.dumps({"error": plain.error(error)}) + "\n")
            return
        from rich.text import Text

        where = f" [{error.field}]" if error.field and error.field not in error.message else ""
        self.err.print(Text("error: ", style="bold red").append(safe(error.message + where)))
        if isinstance(error, BudgetExceeded) and error.estimate is not None:
            from stillroom.cli import estimate_view

            estimate_view.refused(self, error.estimate)


def _console(stderr: bool) -> Console:
    """Names and texts come from anywhere: no markup, no emoji codes, no highlighting in them."""
    from rich.console import Console

    console = Console(stderr=stderr, markup=False, emoji=False, highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = 1000  # nothing is cut in a pipe or a file
    return console


def safe(text: str) -> str:
    """``text`` without what would steer the terminal: control and direction characters escaped."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        c if c == "\n" or unicodedata.category(c) not in ("Cc", "Cf", "Cs") else ascii(c)[1:-1]
        for c in text
    )
