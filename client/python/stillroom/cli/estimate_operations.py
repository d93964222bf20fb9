"""``stillroom estimate distill`` and ``stillroom estimate train``: the options of the commands
themselves, and those of estimates."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stillroom.cli import distill, train
from stillroom.cli.estimate_options import COMPARISON, DATA, ENVIRONMENT, How, report
from stillroom.cli.options import command, like
from stillroom.cli.session import Session

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from stillroom.client import Client

_SHARED = {**DATA, **ENVIRONMENT, **COMPARISON}
_LABELS = Annotated[int | None, typer.Option(help="So many labels, with --texts.", metavar="COUNT")]
# What says nothing about the cost.
_DISTILL_ONLY = ("minimum_fidelity", "description", "label", "validate_only", "wait", "yes")
_TRAIN_ONLY = ("description", "label", "html", "validate_only", "wait", "yes")


def register(app: typer.Typer) -> None:
    """Adds the commands to ``app``."""
    command(app, "distill")(
        like(
            distill.distill,
            _distill,
            leave_out=_DISTILL_ONLY,
            optional={"name": ""},
            more=_SHARED,
        )
    )
    command(app, "train")(
        like(
            train.train,
            _train,
            leave_out=_TRAIN_ONLY,
            optional={"name": ""},
            more={**_SHARED, "label_count": _LABELS},
        )
    )


def _distill(session: Session, given: dict[str, Any]) -> None:
    """A student out of a teacher, with the options of `stillroom distill`.

    --texts stands for a corpus that is not there yet. Files are uploaded for a look at them, and
    deleted again.
    """
    from stillroom.cli import distill_inputs
    from stillroom.v1 import common_pb2

    how = How(given)
    with session.client() as client:
        arguments = distill_inputs.arguments(session, client, given)
        described = arguments["corpus"] is None and given["texts"] is not None
        if described:
            arguments["corpus"] = common_pb2.Corpus()
        request = client.distill_request(**arguments)
        if described:
            request.ClearField("corpus")
        with _discarding(client, request):
            report(session, client, request, how)


def _train(session: Session, given: dict[str, Any]) -> None:
    """A classifier out of labeled texts, with the options of `stillroom train`.

    --texts and --label-count stand for data that are not there yet. Files are uploaded for a look
    at them, and deleted again.
    """
    from stillroom.cli import train_inputs

    how = How(given)
    with session.client() as client:
        described = given["texts"] is not None and not train_inputs.has_data(given)
        arguments = train_inputs.arguments(session, client, given, described=described)
        request = client.train_request(**arguments)
        if described:
            request.ClearField("data")
        with _discarding(client, request):
            report(session, client, request, how)


@contextmanager
def _discarding(client: Client, request: Message) -> Iterator[None]:
    from stillroom.cli.agree import discard

    try:
        yield
    finally:
        discard(client, request)
