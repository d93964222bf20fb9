"""Requests that were answered, so that a repeated one is answered alike and changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import sqlalchemy as sa

from stillroom_registry.database import Database
from stillroom_registry.errors import InvalidArgument
from stillroom_registry.schema import requests
from stillroom_registry.values import Clock

LIFETIME = timedelta(hours=24)
MAX_ID_BYTES = 256


class RequestLog:
    """Runs a change once a request id within 24 hours. Safe between threads and processes."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def run(self, request_id: str, fingerprint: bytes, change: Callable[[], bytes]) -> bytes:
        """What ``change`` answers, or what it answered to the same id before.

        ``change`` runs inside the transaction that records its answer: its own writes to this
        database join it, so either both are on disk or neither is. What it raises is not recorded.
        Raises InvalidArgument (field request_id) when the id is too long, or was used with another
        ``fingerprint``.
        """
        if len(request_id.encode()) > MAX_ID_BYTES:
            raise InvalidArgument(
                f"request_id is longer than {MAX_ID_BYTES} bytes; a random UUID does",
                field="request_id",
            )
        now = self._clock()
        with self._database.write() as connection:
            connection.execute(sa.delete(requests).where(requests.c.create_time <= now - LIFETIME))
            row = connection.execute(
                sa.select(requests).where(requests.c.request_id == request_id)
            ).one_or_none()
            if row is None:
                answer = change()
                connection.execute(
                    sa.insert(requests).values(
                        request_id=request_id,
                        fingerprint=fingerprint,
                        answer=answer,
                        create_time=now,
                    )
                )
                return answer
        if bytes(row.fingerprint) != fingerprint:
            raise InvalidArgument(
                "request_id was used within 24 hours for another request; use a new random UUID for"
                " each request, and the same one only to repeat it",
                reason="REQUEST_ID_REUSED",
                field="request_id",
            )
        return bytes(row.answer)
