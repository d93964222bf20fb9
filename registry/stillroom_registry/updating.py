"""Changing what is said about a model; what was published never changes."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa

from stillroom_registry import schema
from stillroom_registry.checks import check_description, check_labels
from stillroom_registry.database import Database
from stillroom_registry.names import check_model_name
from stillroom_registry.reading import models_of
from stillroom_registry.rows import check_etag, live_model, touch
from stillroom_registry.values import JSON, Clock, Model


class Updater:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def update(
        self,
        name: str,
        *,
        description: str | None,
        labels: Mapping[str, str] | None,
        expected_etag: str | None,
    ) -> Model:
        check_model_name(name)
        given: dict[str, JSON] = {}
        if description is not None:
            check_description(description)
            given["description"] = description
        if labels is not None:
            check_labels(labels)
            given["labels"] = dict(labels)
        table = schema.models
        with self._database.write() as connection:
            row = live_model(connection, name)
            check_etag(row, expected_etag)
            # What is so already is no change, and gets no new etag.
            if any(getattr(row, field) != value for field, value in given.items()):
                connection.execute(sa.update(table).where(table.c.id == row.id).values(**given))
                touch(connection, row.id, self._clock())
            return models_of(connection, [live_model(connection, name)])[0]
