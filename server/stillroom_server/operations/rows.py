"""Operations to rows and back; JSON as text, with what is no JSON refused."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import sqlalchemy as sa

from stillroom_registry.errors import InvalidArgument
from stillroom_server.operations.model import (
    Json,
    Operation,
    OperationError,
    OperationState,
    Progress,
)

MAX_JSON_CHARACTERS = 4 << 20
"""Of one request or result; bulk data belongs into uploads and models."""


def to_text(value: Json, *, field: str) -> str:
    """Canonical JSON text. Raises InvalidArgument for what is no JSON, NaN included, or is huge."""
    try:
        text = json.dumps(value, allow_nan=False, sort_keys=True, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise InvalidArgument(
            f"The {field} of an operation must be JSON: {error}.", reason="NOT_JSON", field=field
        ) from None
    if len(text) > MAX_JSON_CHARACTERS:
        raise InvalidArgument(
            f"The {field} of an operation has {len(text)} characters of JSON; the limit is "
            f"{MAX_JSON_CHARACTERS}. Upload bulk data and refer to it.",
            reason="TOO_LARGE",
            field=field,
        )
    return text


def progress_to_text(progress: Progress) -> str:
    return json.dumps(dataclasses.asdict(progress), allow_nan=False)


def error_to_text(error: OperationError) -> str:
    return json.dumps(dataclasses.asdict(error))


def operation_from_row(row: sa.Row[Any]) -> Operation:
    return Operation(
        id=row.id,
        kind=row.kind,
        request=json.loads(row.request),
        state=OperationState(row.state),
        create_time=row.create_time,
        update_time=row.update_time,
        target=row.target,
        progress=None if row.progress is None else Progress(**json.loads(row.progress)),
        attempt=row.attempt,
        lost_attempts=row.lost_attempts,
        cancel_requested=bool(row.cancel_requested),
        result=None if row.result is None else json.loads(row.result),
        error=None if row.error is None else OperationError(**json.loads(row.error)),
        start_time=row.start_time,
        end_time=row.end_time,
    )
