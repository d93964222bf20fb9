"""Options that every command takes, before or after its name, declared once."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from stillroom.cli.session import Session

_PANEL = "Connection and output"


def _option(*names: str, **settings: Any) -> Any:
    return typer.Option(*names, rich_help_panel=_PANEL, show_default=False, **settings)


COMMON: dict[str, Any] = {
    "target": Annotated[
        str | None,
        _option(
            "--target",
            metavar="HOST:PORT",
            help="The server (STILLROOM_TARGET, else 127.0.0.1:50051).",
        ),
    ],
    "json_output": Annotated[
        bool | None, _option("--json", help="Results as JSON on standard output, for machines.")
    ],
    "token": Annotated[
        str | None,
        _option("--token", help="Bearer token; better in the environment: STILLROOM_TOKEN."),
    ],
    "tls": Annotated[bool | None, _option("--tls", help="Use TLS; on with any certificate.")],
    "root_certificates": Annotated[
        Path | None,
        _option(
            "--root-certificates",
            metavar="PEM",
            help="CAs to trust (STILLROOM_ROOT_CERTIFICATES); the system's unless given.",
        ),
    ],
    "client_certificate": Annotated[
        Path | None, _option("--client-certificate", metavar="PEM", help="For mutual TLS.")
    ],
    "client_key": Annotated[
        Path | None, _option("--client-key", metavar="PEM", help="Key of --client-certificate.")
    ],
    "allow_insecure": Annotated[
        bool | None,
        _option("--allow-insecure", help="Send the token in the clear to another machine."),
    ],
    "timeout": Annotated[
        float | None, _option("--timeout", metavar="SECONDS", help="For each call (120).")
    ],
}


def with_common(function: Callable[..., Any], *, own: int) -> Callable[..., Any]:
    """``function`` for typer: its own parameters after the first ``own``, and the common ones.

    ``function`` gets a keyword ``common`` with the common options that were given here.
    """
    signature = inspect.signature(function, eval_str=True)
    mine = [p for p in list(signature.parameters.values())[own:] if p.name != "common"]
    shared = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
        for name, kind in COMMON.items()
    ]

    @functools.wraps(function)
    def wrapper(**given: Any) -> Any:
        common = {name: given.pop(name) for name in COMMON}
        return function(**given, common={k: v for k, v in common.items() if v is not None})

    keyword = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in mine]
    wrapper.__signature__ = inspect.Signature([*keyword, *shared])  # type: ignore[attr-defined]
    wrapper.__annotations__ = {p.name: p.annotation for p in (*keyword, *shared)}
    del wrapper.__wrapped__  # or typer reads the hidden signature
    return wrapper


def command(
    app: typer.Typer, name: str, **settings: Any
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Registers a function that takes a Session first as the command ``name`` of ``app``; errors of
    the client end it with their message and exit status."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(function, eval_str=True)
        parameters = list(signature.parameters.values())

        def run(context: typer.Context, common: dict[str, Any], **own: Any) -> None:
            merged = {**(context.obj or {}), **common}
            session = Session(bool(merged.pop("json_output", False)), merged)
            with session.exiting():
                function(session, **own)

        context = inspect.Parameter(
            "context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context
        )
        run.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=[context, *parameters[1:]], return_annotation=None
        )
        run.__doc__ = function.__doc__
        app.command(name, **settings)(with_common(run, own=0))
        return function

    return decorate


def like(
    pattern: Callable[..., Any],
    run: Callable[..., None],
    *,
    leave_out: Collection[str] = (),
    optional: Mapping[str, Any] | None = None,
    more: Mapping[str, Any] | None = None,
) -> Callable[..., None]:
    """A command with the parameters of ``pattern`` but for ``leave_out``, those of ``optional``
    with that default, and ``more``: annotations by name, None unless given. It hands all of them
    as one dict to ``run(session, given)`` and has its documentation."""
    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = []
    for name, parameter in inspect.signature(pattern, eval_str=True).parameters.items():
        if name in leave_out:
            continue
        if name in (optional or {}):
            parameter = parameter.replace(default=(optional or {})[name])
        kind = parameter.kind if name == "session" else keyword
        parameters.append(parameter.replace(kind=kind))
    parameters += [
        inspect.Parameter(name, keyword, default=None, annotation=kind)
        for name, kind in (more or {}).items()
    ]

    def made(session: Session, **given: Any) -> None:
        run(session, given)

    made.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    made.__doc__ = run.__doc__
    return made
