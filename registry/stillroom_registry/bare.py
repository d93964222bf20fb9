"""Statements for the driver's own cursor: compiled once, without the layers above it.

For what is read very often. Building a statement, and getting it through those layers, takes
several times as long as running it.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite


def compiled(statement: sa.Select[Any]) -> str:
    """The text of a statement; its parameters are named as its ``bindparam`` are."""
    return str(statement.compile(dialect=sqlite.dialect(paramstyle="named")))


def cursor_of(connection: sa.Connection) -> Any:
    """The driver's cursor on a connection, in the transaction that it is in."""
    driver_connection = connection.connection.driver_connection
    assert driver_connection is not None
    return driver_connection.cursor()
