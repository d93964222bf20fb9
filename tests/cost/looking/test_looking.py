"""From data and what is said of them to facts, in tokens of the model's own tokenizer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from inference.students import write_student

from stillroom_registry.errors import InvalidArgument
from stillroom_registry.registry import Registry
from stillroom_registry.values import ModelKind, ModelVersion
from stillroom_server.cost.assumptions import Source
from stillroom_server.cost.facts import DataFacts
from stillroom_server.cost.looking.data import NOTHING, Described
from stillroom_server.cost.looking.looking import Looking
from stillroom_server.cost.looking.prompts import prompts_of
from stillroom_server.cost.looking.tokens import Recent, TokenCounter
from stillroom_server.security.paths import AllowedRoots


class Room:
    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.root.mkdir()
        self.registry = Registry.open(folder / "data")
        student = write_student(folder / "s")
        self.student: ModelVersion = self.registry.publish("s", ModelKind.STUDENT, student)
        (self.root / "config.json").write_text('{"prompts": {"query": "query: "}}')
        self.teacher: ModelVersion = self.registry.publish("t", ModelKind.TEACHER, self.root)
        self.looking = Looking(self.registry, AllowedRoots([self.root]))

    def corpus(self, text: str, described: Described = NOTHING) -> DataFacts:
        path = self.root / "c.txt"
        path.write_text(text)
        return self.looking.corpus({"path": str(path)}, self.student, described)


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    made = Room(tmp_path)
    yield made
    made.registry.close()


def test_tokens_are_those_of_the_model(room: Room) -> None:
    facts = room.corpus("the card has not arrived\nmoney transfer\n")
    assert facts.texts is not None
    assert facts.tokens_per_text is not None
    assert (facts.texts.value, facts.texts.source) == (2, Source.DATA)
    assert facts.tokens_per_text.value == pytest.approx(3.5)
    assert not facts.sampled


def test_what_is_said_stands_in_place_of_what_is_seen(room: Room) -> None:
    facts = room.corpus("the card\n", Described(texts=9, tokens_per_text=2.5))
    assert facts.texts is not None
    assert facts.tokens_per_text is not None
    assert (facts.texts.value, facts.texts.source) == (9, Source.REQUEST)
    assert (facts.tokens_per_text.value, facts.tokens_per_text.source) == (2.5, Source.REQUEST)
    some = room.corpus("the card\n", Described(texts=9))
    assert some.tokens_per_text is not None
    assert (some.tokens_per_text.value, some.tokens_per_text.source) == (2, Source.DATA)


def test_a_file_that_changed_is_looked_at_again(room: Room) -> None:
    assert room.corpus("one\n").texts == room.corpus("one\n").texts
    changed = room.corpus("one\ntwo\nthree\n")
    assert changed.texts is not None
    assert changed.texts.value == 3


def test_what_cannot_be_read_is_not_known(room: Room) -> None:
    gone = room.looking.corpus({"path": str(room.root / "gone")}, room.student, NOTHING)
    assert gone == DataFacts()
    outside = room.looking.corpus({"path": "/etc/passwd"}, room.student, NOTHING)
    assert outside == DataFacts()
    assert room.looking.corpus(None, room.student, NOTHING) == DataFacts()
    nothing = room.looking.examples({"described": True}, None, NOTHING, multi_label=False)
    assert nothing == DataFacts()


def test_without_a_tokenizer_tokens_are_not_known(room: Room) -> None:
    path = room.root / "c.txt"
    path.write_text("one\ntwo\n")
    facts = room.looking.corpus({"path": str(path)}, room.teacher, NOTHING)
    assert facts.texts is not None
    assert facts.tokens_per_text is None


def test_one_file_is_two_things(room: Room) -> None:
    """As a corpus and as labeled texts."""
    path = room.root / "d.csv"
    path.write_text("text,label\none,a\ntwo,b\n")
    source = {"path": str(path)}
    labeled = room.looking.examples(source, room.student, NOTHING, multi_label=False)
    plain = room.looking.corpus(source, room.student, NOTHING)
    assert labeled.labels is not None
    assert (labeled.labels.value, plain.labels) == (2, None)


def test_counts_are_kept(room: Room) -> None:
    counter = TokenCounter(room.registry)
    first = counter.per_byte(room.student, ["the card"])
    assert first == counter.per_byte(room.student, ["the card"]) == pytest.approx(2 / 8)
    assert counter.per_byte(room.student, []) is None
    assert counter.per_byte(room.student, [""]) is None


def test_what_was_used_last_is_kept() -> None:
    kept: Recent[str, int] = Recent(10)
    kept.put("a", 1, 5)
    kept.put("b", 2, 5)
    assert kept.get("a") == 1
    kept.put("c", 3, 5)
    assert (kept.get("a"), kept.get("b"), kept.get("c")) == (1, None, 3)
    kept.put("huge", 4, 11)
    assert (kept.get("huge"), kept.get("c")) == (None, 3)


def test_prompts_are_told_without_the_model(room: Room) -> None:
    assert prompts_of(room.registry, room.teacher) == {"query": "query: "}
    assert prompts_of(room.registry, room.student) == {}


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"texts": -1}, "data.texts"),
        ({"tokens_per_text": -0.5}, "data.tokens_per_text"),
        ({"total_bytes": -1}, "data.total_bytes"),
        ({"labels": 1}, "data.labels"),
        ({"labels": -2}, "data.labels"),
    ],
)
def test_descriptions_that_make_no_sense_are_refused(given: dict[str, float], field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        Described.from_json(given)
    assert caught.value.field == field
