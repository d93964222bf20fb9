"""Which models a list has, and in which order, as SQL."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from stillroom_registry.columns import UtcDateTime, from_microseconds, to_microseconds
from stillroom_registry.errors import InvalidArgument
from stillroom_registry.filters.syntax import parse
from stillroom_registry.filters.tree import And, Comparison, Not, Or, Tree, bad_filter
from stillroom_registry.names import shown
from stillroom_registry.pages import bad_token, make_token, read_token
from stillroom_registry.schema import models
from stillroom_registry.values import ModelKind

_Condition = sa.ColumnElement[bool]
_ORDERS = {"name": models.c.name, "create_time": models.c.create_time}
_ORDERS["update_time"] = models.c.update_time
_FIELDS = "name, kind, description, labels.KEY, create_time and update_time"
_KIND_PREFIX = "model_kind_"


class ModelQuery:
    """Raises InvalidArgument: BAD_FILTER, BAD_ORDER."""

    def __init__(self, kind: ModelKind | None, filter_text: str, order_by: str) -> None:
        self._kind = kind
        tree = parse(filter_text)
        self._condition = None if tree is None else _condition(tree)
        self._order, self._descending = _read_order(order_by)
        asked = "" if not (filter_text or order_by) else f"{filter_text}\0{order_by}"
        digest = hashlib.sha256(asked.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        self._listing = f"models {kind or ''}" + (f" {digest}" if asked else "")

    def statement(self, page_token: str) -> sa.Select[Any]:
        """Rows of ``models``, in order, after those of the page that gave the token."""
        query = sa.select(models).where(models.c.delete_time.is_(None))
        if self._kind is not None:
            query = query.where(models.c.kind == self._kind)
        if self._condition is not None:
            query = query.where(self._condition)
        after = read_token(self._listing, page_token, str)
        if after is not None:
            query = query.where(self._is_after(after))
        columns = [models.c.name] if self._order == "name" else [self._column, models.c.name]
        return query.order_by(*(c.desc() if self._descending else c for c in columns))

    def token(self, last: sa.Row[Any]) -> str:
        """The token of the page after the row ``last``."""
        if self._order == "name":
            return make_token(self._listing, last.name)
        time = to_microseconds(getattr(last, self._order))
        return make_token(self._listing, f"{time} {last.name}")

    @property
    def _column(self) -> sa.Column[Any]:
        return _ORDERS[self._order]

    def _is_after(self, last: str) -> _Condition:
        if self._order == "name":
            name = models.c.name
            return name < last if self._descending else name > last
        digits, _, name_text = last.partition(" ")
        if not (digits.isascii() and digits.isdigit() and len(digits) < 18):
            raise bad_token()
        here = sa.tuple_(self._column, models.c.name)
        time = from_microseconds(int(digits))
        there = sa.tuple_(sa.literal(time, UtcDateTime()), sa.literal(name_text))
        return here < there if self._descending else here > there


def _read_order(order_by: str) -> tuple[str, bool]:
    words = order_by.split()
    if not words:
        return "name", False
    if len(words) <= 2 and words[0] in _ORDERS and words[1:] in ([], ["asc"], ["desc"]):
        return words[0], words[1:] == ["desc"]
    raise InvalidArgument(
        f"Models cannot be ordered by {shown(order_by)}; write one of {', '.join(_ORDERS)}, and "
        "desc after it for the other direction.",
        reason="BAD_ORDER",
        field="order_by",
    )


def _condition(tree: Tree) -> _Condition:
    if isinstance(tree, And):
        return sa.and_(*(_condition(term) for term in tree.terms))
    if isinstance(tree, Or):
        return sa.or_(*(_condition(term) for term in tree.terms))
    if isinstance(tree, Not):
        return sa.not_(_condition(tree.term))
    make = _MAKERS.get(tree.path[0])
    if make is None or (len(tree.path) > 1) != (tree.path[0] == "labels"):
        raise bad_filter(
            tree.position, f"there is no field {shown('.'.join(tree.path))}; there are {_FIELDS}"
        )
    return make(tree)


def _text(column: sa.Column[str], prefix: str = "") -> Callable[[Comparison], _Condition]:
    def make(asked: Comparison) -> _Condition:
        _allow(asked, "=", "!=", ":")
        value = asked.value.removeprefix(prefix)
        if asked.comparator == ":":
            return _contains(column, value)
        return _equal(asked, column == value)

    return make


def _kind(asked: Comparison) -> _Condition:
    _allow(asked, "=", "!=")
    name = asked.value.lower().removeprefix(_KIND_PREFIX)
    if name not in set(ModelKind):
        raise bad_filter(
            asked.value_position,
            f"there is no kind {shown(asked.value)}; there are {', '.join(ModelKind)}",
        )
    return _equal(asked, models.c.kind == name)


def _label(asked: Comparison) -> _Condition:
    """A model without the label equals nothing, and so is unequal to everything."""
    _allow(asked, "=", "!=", ":")
    pair = sa.func.json_each(models.c.labels).table_valued("key", "value")
    key = ".".join(asked.path[1:])
    has = sa.select(sa.literal(1)).select_from(pair).where(pair.c.key == key)
    if asked.comparator != ":":
        return _equal(asked, has.where(pair.c.value == asked.value).exists())
    if asked.value != "*":
        has = has.where(_contains(pair.c.value, asked.value))
    return has.exists()


def _time(column: sa.Column[datetime]) -> Callable[[Comparison], _Condition]:
    def make(asked: Comparison) -> _Condition:
        _allow(asked, "=", "!=", "<", "<=", ">", ">=")
        try:
            moment = datetime.fromisoformat(asked.value)
            moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            compared = _COMPARE[asked.comparator](column, moment.astimezone(UTC))
        except (ValueError, OverflowError):
            raise bad_filter(
                asked.value_position,
                f'{shown(asked.value, 40)} is no time; write "2026-01-31T12:00:00Z"',
            ) from None
        return compared

    return make


_COMPARE: dict[str, Callable[[sa.Column[datetime], datetime], _Condition]] = {
    "=": lambda column, moment: column == moment,
    "!=": lambda column, moment: column != moment,
    "<": lambda column, moment: column < moment,
    "<=": lambda column, moment: column <= moment,
    ">": lambda column, moment: column > moment,
    ">=": lambda column, moment: column >= moment,
}


def _contains(column: sa.ColumnElement[str], part: str) -> _Condition:
    """Without regard to the case of ASCII letters."""
    return sa.func.instr(sa.func.lower(column), sa.func.lower(part)) > 0


def _equal(asked: Comparison, equal: _Condition) -> _Condition:
    return equal if asked.comparator == "=" else sa.not_(equal)


def _allow(asked: Comparison, *comparators: str) -> None:
    if asked.comparator not in comparators:
        raise bad_filter(
            asked.position,
            f"{shown('.'.join(asked.path))} cannot be compared by {asked.comparator}; "
            f"use {' '.join(comparators)}",
        )


_MAKERS: dict[str, Callable[[Comparison], _Condition]] = {
    "name": _text(models.c.name, "models/"),
    "kind": _kind,
    "description": _text(models.c.description),
    "labels": _label,
    "create_time": _time(models.c.create_time),
    "update_time": _time(models.c.update_time),
}
