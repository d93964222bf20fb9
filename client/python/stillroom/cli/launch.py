"""What commands that start an operation have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stillroom.cli import plain
from stillroom.cli.follow import follow
from stillroom.cli.session import Session

if TYPE_CHECKING:
    from stillroom.operation import Operation


def finish(session: Session, operation: Operation[Any], wait: bool) -> Any:
    """Waits with progress and answers the response, which is also emitted as JSON; or, without
    ``wait``, says how to find the operation and answers None. One that was done from the start, as
    what is only validated, is not asked for again: it may have no name."""
    if not wait and not operation.done:
        if session.json_output:
            session.emit(plain.operation(operation))
        else:
            session.out.print(operation.name)
            session.say(f"watch it with: stillroom operations watch {operation.name}")
        return None
    response = operation.result() if operation.done else follow(session, operation)
    if session.json_output:
        session.emit(plain.operation(operation))
    return response


def show_estimate(session: Session, response: Any) -> None:
    """What a request that was only validated would take, where the server says so."""
    from stillroom.costs import estimate_of

    estimate = estimate_of(response)
    if estimate is not None:
        from stillroom.cli import estimate_view

        session.out.print()
        estimate_view.show(session, estimate.message)
