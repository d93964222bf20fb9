"""What a room offers to have its work executed as an operation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from stillroom_server.operations.context import OperationContext
    from stillroom_server.operations.model import Json


class Executor(Protocol):
    """Executes operations of one kind, in the runner process.

    ``phases`` are the names given to ``context.progress``, in their order; a request that has not
    all of them says so by ``context.expect``. An executor may be
    started again with the same request at any time, also while a suspended earlier attempt still
    exists, so what it leaves in ``context.workspace`` must be written to a new name and renamed
    when whole. It calls ``context.check_cancelled()`` at least a few times a second and lets what
    that raises through. It publishes with ``context.succeed`` in the publishing transaction; an
    effect that cannot share the transaction must come after ``context.guard``.
    """

    @property
    def kind(self) -> str: ...

    @property
    def phases(self) -> tuple[str, ...]: ...

    def run(self, request: Json, context: OperationContext) -> Json:
        """Do the work and return the result, a JSON object.

        Raises errors of ``stillroom_registry.errors``, which reach the caller as they are; anything
        else becomes Internal. The result is ignored when ``context.succeed`` was called.
        """
        ...
