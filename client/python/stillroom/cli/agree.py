"""Before long work: what it would take, and whether to start it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import typer

from stillroom.cli.session import Session
from stillroom.errors import (
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    StillroomError,
    Unauthenticated,
    Unimplemented,
)

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from stillroom.client import Client
    from stillroom.costs import Estimate

# What takes less, nine times in ten, is started without a word.
LONG_SECONDS = 60.0
# What the work itself would be refused with, or what an older server says: no news yet.
_SILENT = (
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    Unauthenticated,
    Unimplemented,
)


def agree(session: Session, client: Client, request: Message, yes: bool) -> None:
    """Shows what ``request`` would take if that is long, and asks on a terminal, unless ``yes``.
    Whoever declines ends the command; what was uploaded is discarded. An estimate that cannot be
    made stops nothing."""
    if session.json_output:
        return
    try:
        estimate = client.estimate_cost(request).estimate
    except _SILENT:
        return
    except StillroomError as error:
        session.say(f"no estimate: {error.message}")
        return
    longest = estimate.seconds.p90
    if longest is None or longest <= LONG_SECONDS or _refused(estimate):
        return
    from stillroom.cli import estimate_view

    session.say(estimate_view.brief(estimate))
    if yes or not (sys.stdin.isatty() and session.err.is_terminal):
        return
    try:
        typer.confirm("Start it?", default=True, abort=True, err=True)
    except typer.Abort:
        discard(client, request)
        raise


def _refused(estimate: Estimate) -> bool:
    """Whether the server will refuse it for its budget, and say so with the estimate."""
    from stillroom.v1 import cost_service_pb2 as pb

    message = estimate.message
    return message.HasField("budget_check") and message.budget_check.verdict != pb.VERDICT_KEPT


def discard(client: Client, request: Message) -> None:
    """Deletes the uploads that a request names, as far as the server lets go of them."""
    for name in sorted(_uploads(request)):
        try:
            client.delete_upload(name)
        except StillroomError:
            continue  # it expires


def _uploads(message: Any) -> set[str]:
    found: set[str] = set()
    for field, value in message.ListFields():
        if field.message_type is not None and not field.message_type.GetOptions().map_entry:
            for item in value if field.is_repeated else (value,):
                found |= _uploads(item)
        elif field.name in ("upload", "test_upload"):
            found.add(value)
    return found
