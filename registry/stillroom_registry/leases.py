"""A lease keeps the collector off blobs that no version refers to yet.

The order makes it safe without trusting a clock: the lease's row is committed *before* the blobs
get their names, the collector deletes inside a write transaction in which it reads the leases, and
the publishing transaction ends the lease itself and fails if it is no longer there. The expiry only
frees what a killed publisher leased.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta

import sqlalchemy as sa

from stillroom_registry import schema
from stillroom_registry.database import Database
from stillroom_registry.errors import Aborted, StillroomError
from stillroom_registry.values import Clock

# Taken after the bytes are staged, so it spans renames and one transaction, not an upload.
TIME_TO_LIVE = timedelta(hours=1)


class Lease:
    def __init__(self, identifier: str) -> None:
        self.identifier = identifier

    def end(self, connection: sa.Connection) -> None:
        """End the lease in the transaction that refers to its blobs; Aborted if it has expired."""
        statement = sa.delete(schema.leases).where(schema.leases.c.id == self.identifier)
        if connection.execute(statement).rowcount != 1:
            raise Aborted(
                "The publish took too long and its files were collected; publish again.",
                reason="LEASE_EXPIRED",
                retry_after=0.0,
            )


@contextmanager
def leased(database: Database, digests: Collection[str], clock: Clock) -> Iterator[Lease]:
    """Protect ``digests`` until the lease is ended or the block is left."""
    lease = Lease(uuid.uuid4().hex)
    with database.write() as connection:
        connection.execute(
            sa.insert(schema.leases).values(id=lease.identifier, expire_time=clock() + TIME_TO_LIVE)
        )
        rows = [{"lease_id": lease.identifier, "digest": digest} for digest in set(digests)]
        connection.execute(sa.insert(schema.lease_blobs), rows)
    try:
        yield lease
    except BaseException:
        # Should this fail too, the lease expires; the first error is the one to tell.
        with suppress(StillroomError), database.write() as connection:
            connection.execute(
                sa.delete(schema.leases).where(schema.leases.c.id == lease.identifier)
            )
        raise
