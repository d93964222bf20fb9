"""Filters and orders of lists: what they choose, and what is said of wrong ones."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stillroom_registry import schema
from stillroom_registry.errors import InvalidArgument
from stillroom_registry.filters.query import ModelQuery
from stillroom_registry.filters.syntax import MAX_DEPTH, MAX_LENGTH, MAX_TERMS, parse
from stillroom_registry.filters.tree import And, Comparison, Not, Or, Tree
from stillroom_registry.registry import Model, ModelKind, Registry

START = datetime(2030, 1, 1, tzinfo=UTC)
TEACHER, STUDENT, CLASSIFIER = ModelKind.TEACHER, ModelKind.STUDENT, ModelKind.CLASSIFIER
# Name, kind, description, labels; each is a day younger than the one before, and was changed in
# the opposite order.
MODELS: list[tuple[str, ModelKind, str, dict[str, str]]] = [
    ("minilm", TEACHER, "The Teacher", {}),
    ("mini-small", STUDENT, "small, from minilm", {"team": "search", "my key": 'say "hi"'}),
    ("mini-large", STUDENT, "", {"team": "search", "stage": "Test"}),
    ("intents", CLASSIFIER, "100% of a\\b_c", {"team": "support", "a.b": "1", "empty": ""}),
]


@pytest.fixture
def listed(registry: Registry, make_folder: Any, clock: Any) -> Registry:
    for name, kind, description, labels in MODELS:
        folder = make_folder(n=b"1")
        registry.publish(name, kind, folder, description=description, labels=labels)
        clock.advance(86400)
    with registry.database.write() as connection:
        for place, (name, *_) in enumerate(MODELS):
            time = clock.now + timedelta(days=len(MODELS) - place)
            table = schema.models
            connection.execute(table.update().where(table.c.name == name).values(update_time=time))
    return registry


def names(registry: Registry, text: str, **options: Any) -> set[str]:
    return {model.name for model in registry.list_models(filter=text, **options).items}


SMALL, LARGE, LM, INTENTS = "mini-small", "mini-large", "minilm", "intents"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", {SMALL, LARGE, LM, INTENTS}),
        ("  \n", {SMALL, LARGE, LM, INTENTS}),
        ('labels.team = "search" AND name : "mini"', {SMALL, LARGE}),
        ("labels.team=search name:SMALL", {SMALL}),
        ("name = models/minilm", {LM}),
        ("name != 'minilm'", {SMALL, LARGE, INTENTS}),
        ("kind = student", {SMALL, LARGE}),
        ("kind != MODEL_KIND_STUDENT", {LM, INTENTS}),
        ("description : teacher", {LM}),
        ('description : "%"', {INTENTS}),
        ('description : "a\\\\b_c"', {INTENTS}),
        ('description = ""', {LARGE}),
        ("labels.team : SEA", {SMALL, LARGE}),
        ("labels.team : *", {SMALL, LARGE, INTENTS}),
        ("NOT labels.team : *", {LM}),
        ("labels.empty : *", {INTENTS}),
        ('labels.empty = ""', {INTENTS}),
        ("labels.team != search", {LM, INTENTS}),
        ("-labels.team = search", {LM, INTENTS}),
        ("labels.stage = test", set()),
        ('labels."my key" = "say \\"hi\\""', {SMALL}),
        ("labels.a.b = 1", {INTENTS}),
        ('labels."a.b" = 1', {INTENTS}),
        ('create_time >= "2030-01-03T00:00:00Z"', {LARGE, INTENTS}),
        ("create_time < 2030-01-02", {LM}),
        ('create_time = "2030-01-02T01:00:00+01:00"', {SMALL}),
        ("create_time != 2030-01-02", {LM, LARGE, INTENTS}),
        ("update_time > 2030-01-08", {LM}),
        # OR binds tighter than AND.
        ("kind = student AND name : small OR name : intents", {SMALL}),
        ("(kind = student AND name : small) OR name : intents", {SMALL, INTENTS}),
        ("kind = teacher OR NOT (kind = student OR kind = teacher)", {LM, INTENTS}),
    ],
)
def test_what_a_filter_chooses(listed: Registry, text: str, found: set[str]) -> None:
    assert names(listed, text) == found


def test_a_kind_and_a_filter_are_both_meant(listed: Registry) -> None:
    assert names(listed, "name : mini", kind=TEACHER) == {LM}


@pytest.mark.parametrize(
    ("text", "position", "problem"),
    [
        ("name", 5, "it ends where one of = != < <= > >= : after the field should be"),
        ("name =", 7, "it ends where a value should be"),
        ("name = a AND", 13, "it ends where the name of a field should be"),
        ("(name = a", 10, "a closing parenthesis"),
        ("name = a)", 9, "')' is where AND, OR or the end should be"),
        ("= a", 1, "'=' is where the name of a field should be"),
        ("name = a OR OR name = b", 13, "'OR' is where the name of a field"),
        ("name = AND", 8, "'AND' is where a value should be"),
        ('name = "open', 8, "cannot begin anything"),
        ("name = a; drop", 9, "';' cannot begin anything"),
        ("naïve = 1", 3, "cannot begin anything"),
        ("colour = red", 1, "there is no field 'colour'"),
        ("a = 1 name : b", 1, "there is no field 'a'"),
        ("name = b labels = 1", 10, "there is no field 'labels'"),
        ("name.x = 1", 1, "there is no field 'name.x'"),
        ("labels..x = 1", 1, "'labels..x' is no name of a field"),
        ("kind = poem", 8, "there is no kind 'poem'"),
        ("kind : student", 1, "'kind' cannot be compared by :"),
        ("name > a", 1, "'name' cannot be compared by >"),
        ("labels.a < 1", 1, "'labels.a' cannot be compared by <"),
        ("create_time : 2030-01-01", 1, "'create_time' cannot be compared by :"),
        ("create_time > yesterday", 15, "'yesterday' is no time"),
        ('create_time > "0001-01-01T00:00:00+14:00"', 15, "is no time"),
        ('name = "\ud800"', 9, "it is no valid Unicode"),
        ("(" * (MAX_DEPTH + 2), MAX_DEPTH + 2, "nested more than"),
        ("NOT " * (MAX_DEPTH + 2), 4 * (MAX_DEPTH + 1) + 1, "nested more than"),
        ("name=a " * (MAX_TERMS + 1), 7 * MAX_TERMS + 1, "more than 100 comparisons"),
        ("x" * (MAX_LENGTH + 1), MAX_LENGTH + 1, "at most 4,096 characters"),
    ],
)
def test_a_wrong_filter_is_told_where_and_why(
    registry: Registry, text: str, position: int, problem: str
) -> None:
    with pytest.raises(InvalidArgument) as caught:
        registry.list_models(filter=text)
    assert (caught.value.reason, caught.value.field) == ("BAD_FILTER", "filter")
    assert caught.value.metadata == {"position": str(position)}
    assert f"at character {position}: " in caught.value.message
    assert problem in caught.value.message
    assert len(caught.value.message) < 400


ALPHABET = st.sampled_from(
    [*"()-:=<>!\"'\\ ", "AND", "OR", "NOT", "name", "labels.", "kind", "create_time", "2030", "x"]
)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(max_size=40), st.lists(ALPHABET, max_size=30).map(" ".join)))
def test_any_text_is_a_filter_or_a_bad_argument(text: str) -> None:
    with suppress(InvalidArgument):
        ModelQuery(None, text, "")
        return
    with pytest.raises(InvalidArgument) as caught:
        ModelQuery(None, text, "")
    assert 1 <= int(caught.value.metadata["position"]) <= len(text) + 1


TIMES = st.integers(0, 9).map(lambda days: START + timedelta(days=days))
TEXTS = st.sampled_from(["minilm", "MINI", "mini-small", "search", "", "a\\b", '"hi"', "*", "e"])
KEYS = st.sampled_from(["team", "my key", "a.b", "stage", "absent"])


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _comparison(field: str, comparator: str, value: str) -> str:
    return f"{field} {comparator} {_quoted(value)}"


COMPARISONS = st.one_of(
    st.builds(
        _comparison,
        st.sampled_from(["name", "description"]),
        st.sampled_from(["=", "!=", ":"]),
        TEXTS,
    ),
    st.builds(
        _comparison,
        KEYS.map(lambda key: f"labels.{_quoted(key)}"),
        st.sampled_from(["=", "!=", ":"]),
        TEXTS,
    ),
    st.builds(
        _comparison, st.just("kind"), st.sampled_from(["=", "!="]), st.sampled_from(list(ModelKind))
    ),
    st.builds(
        _comparison,
        st.sampled_from(["create_time", "update_time"]),
        st.sampled_from(["=", "!=", "<", "<=", ">", ">="]),
        TIMES.map(datetime.isoformat),
    ),
)
FILTERS = st.recursive(
    COMPARISONS,
    lambda inner: st.one_of(
        st.lists(inner, min_size=2, max_size=3).map(lambda terms: f"({' AND '.join(terms)})"),
        st.lists(inner, min_size=2, max_size=3).map(lambda terms: f"({' '.join(terms)})"),
        st.lists(inner, min_size=2, max_size=3).map(lambda terms: f"({' OR '.join(terms)})"),
        inner.map(lambda term: f"NOT {term}"),
    ),
    max_leaves=6,
)


def matches(tree: Tree | None, model: Model) -> bool:
    """What a filter means, without a database."""
    if tree is None:
        return True
    if isinstance(tree, And):
        return all(matches(term, model) for term in tree.terms)
    if isinstance(tree, Or):
        return any(matches(term, model) for term in tree.terms)
    if isinstance(tree, Not):
        return not matches(tree.term, model)
    return _compared(tree, model)


def _compared(asked: Comparison, model: Model) -> bool:
    field, *key = asked.path
    value = asked.value
    if field == "labels":
        actual: Any = model.labels.get(".".join(key))
        if asked.comparator == ":" and value == "*":
            return actual is not None
    else:
        actual = getattr(model, field)
    if field.endswith("_time"):
        moment = datetime.fromisoformat(value)
        return bool(
            {
                "=": actual == moment,
                "!=": actual != moment,
                "<": actual < moment,
                "<=": actual <= moment,
                ">": actual > moment,
                ">=": actual >= moment,
            }[asked.comparator]
        )
    if asked.comparator == ":":
        return actual is not None and value.lower() in actual.lower()
    return (actual == value) == (asked.comparator == "=")


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(text=FILTERS)
def test_the_database_means_what_the_filter_means(listed: Registry, text: str) -> None:
    everything = listed.list_models().items
    expected = {model.name for model in everything if matches(parse(text), model)}
    assert names(listed, text) == expected


def pages(registry: Registry, size: int, **options: Any) -> Iterator[str]:
    token = ""
    while True:
        page = registry.list_models(size, token, **options)
        assert len(page.items) <= size
        yield from (model.name for model in page.items)
        token = page.next_page_token
        if not token:
            return


BY_NAME = sorted(name for name, *_ in MODELS)
BY_AGE = [name for name, *_ in MODELS]


@pytest.mark.parametrize("size", [1, 2, 3, 4])
@pytest.mark.parametrize(
    ("order_by", "order"),
    [
        ("", BY_NAME),
        ("name", BY_NAME),
        ("name desc", BY_NAME[::-1]),
        ("create_time", BY_AGE),
        (" create_time  desc ", BY_AGE[::-1]),
        ("update_time asc", BY_AGE[::-1]),
        ("update_time desc", BY_AGE),
    ],
)
def test_pages_in_order(listed: Registry, order_by: str, order: list[str], size: int) -> None:
    assert list(pages(listed, size, order_by=order_by)) == order
    some = list(pages(listed, size, order_by=order_by, filter="name : mini"))
    assert some == [name for name in order if "mini" in name]


@pytest.mark.parametrize("order_by", ["create_time", "create_time desc"])
def test_equal_times_lose_nobody(registry: Registry, make_folder: Any, order_by: str) -> None:
    folder = make_folder(n=b"1")
    for number in range(5):
        registry.publish(f"m{number}", STUDENT, folder)
    found = list(pages(registry, 2, order_by=order_by))
    assert found == sorted(found, reverse="desc" in order_by)
    assert len(found) == 5


@pytest.mark.parametrize("order_by", ["size", "name up", "name desc desc", "name, create_time"])
def test_other_orders_are_refused(registry: Registry, order_by: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        registry.list_models(order_by=order_by)
    assert (caught.value.reason, caught.value.field) == ("BAD_ORDER", "order_by")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"filter": "name : a"},
        {"filter": "name : mini", "order_by": "create_time"},
        {"filter": "name : mini", "order_by": "name desc", "kind": STUDENT},
    ],
)
def test_a_token_is_good_for_its_own_list_alone(listed: Registry, options: Any) -> None:
    own = {"filter": "name : mini", "order_by": "name desc"}
    token = listed.list_models(1, **own).next_page_token
    listed.list_models(1, token, **own)
    with pytest.raises(InvalidArgument) as caught:
        listed.list_models(1, token, **options)
    assert caught.value.field == "page_token"


@pytest.mark.parametrize("last", ["x", "1", "9" * 30 + " m", "\u0661 m", ""])
def test_a_forged_token_of_a_list_by_time(listed: Registry, last: str) -> None:
    from base64 import urlsafe_b64decode

    from stillroom_registry.pages import make_token

    token = listed.list_models(1, order_by="create_time").next_page_token
    listing, _ = json.loads(urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    forged = make_token(listing, last)
    call: Callable[[], Any] = lambda: listed.list_models(1, forged, order_by="create_time")  # noqa: E731
    if last == "1":
        call()  # a time and an empty name: nothing is wrong with it
        return
    with pytest.raises(InvalidArgument):
        call()


def test_the_filters_of_the_documents_are_good() -> None:
    page = Path(__file__).parents[2] / "docs" / "registry.md"
    (block,) = [each for each in page.read_text().split("```")[1::2] if each.startswith("\n")]
    for line in block.strip().splitlines():
        ModelQuery(None, line, "")
