"""Whose turn it is: a round robin over the operations that are not done.

Waiting operations are claimed by turn, then by age. A new one joins with the highest turn there is,
behind all that wait; one that gives way goes behind those too. So a long operation holds up a short
one for a time slice, not for its whole length, and newcomers never keep it from its own turn.
"""

from __future__ import annotations

import sqlalchemy as sa

from stillroom_server.operations.model import OperationState
from stillroom_server.operations.schema import operations

ORDER = (operations.c.turn, operations.c.sequence)
_UNFINISHED = (OperationState.PENDING, OperationState.RUNNING)


def last_turn(connection: sa.Connection) -> int:
    """The highest turn of what waits or runs; 0 when there is nothing."""
    highest = sa.select(sa.func.max(operations.c.turn)).where(operations.c.state.in_(_UNFINISHED))
    return connection.execute(highest).scalar_one() or 0


def others_wait(connection: sa.Connection) -> bool:
    """Whether an operation waits for somebody to execute it."""
    waiting = sa.select(operations.c.sequence).where(operations.c.state == OperationState.PENDING)
    return connection.execute(waiting.limit(1)).first() is not None
