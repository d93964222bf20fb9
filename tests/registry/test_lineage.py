"""What a version was made from, and what was made of it, though it be deleted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from stillroom_registry import lineage as lineage_module
from stillroom_registry.errors import InvalidArgument, NotFound
from stillroom_registry.registry import Lineage, ModelKind, Registry

TEACHER, STUDENT, CLASSIFIER = ModelKind.TEACHER, ModelKind.STUDENT, ModelKind.CLASSIFIER


def name(model: str, version: int = 1) -> str:
    return f"models/{model}/versions/{version}"


def names(found: Lineage) -> list[str]:
    return [node.name.split("/")[1] for node in found.nodes]


def edges(found: Lineage) -> set[tuple[str, str, str]]:
    return {(e.parent.split("/")[1], e.child.split("/")[1], e.relation) for e in found.edges}


@pytest.fixture
def family(registry: Registry, make_folder: Any) -> Registry:
    """teacher -> student -> (small -> head, copied); teacher -> other, which is no kin of head."""
    folder = make_folder(n=b"1")

    def publish(model: str, kind: ModelKind, *parents: str, **facts: Any) -> None:
        relation = facts.pop("relation", None)
        registry.publish(
            model,
            kind,
            folder,
            parents=[name(parent) for parent in parents],
            metadata=facts,
            relation=relation,
        )

    publish("teacher", TEACHER)
    publish("student", STUDENT, "teacher", recipe="static", seed=7, corpus="sha256:1")
    publish("small", STUDENT, "student", recipe="quantize")
    publish("copied", STUDENT, "student")
    publish("head", CLASSIFIER, "small")
    publish("other", STUDENT, "teacher", relation="distill")
    return registry


ALL = {
    ("teacher", "student", "distill"),
    ("student", "small", "quantize"),
    ("student", "copied", "copy"),
    ("small", "head", "train"),
    ("teacher", "other", "distill"),
}


def test_the_whole_family_of_the_first(family: Registry) -> None:
    found = family.lineage("teacher")
    assert names(found) == ["teacher", "student", "other", "small", "copied", "head"]
    assert (edges(found), found.truncated) == (ALL, False)


def test_up_and_down_but_not_sideways(family: Registry) -> None:
    found = family.lineage("small@1")
    assert names(found) == ["small", "student", "teacher", "head"]
    assert edges(found) == {edge for edge in ALL if not {"other", "copied"} & set(edge)}


@pytest.mark.parametrize(
    ("depth", "kin"),
    [
        (1, {"small", "student", "head"}),
        (2, {"small", "student", "head", "teacher"}),
        (1000, {"small", "student", "head", "teacher"}),
    ],
)
def test_as_far_as_asked(family: Registry, depth: int, kin: set[str]) -> None:
    found = family.lineage("small", depth)
    assert set(names(found)) == kin
    assert {e for edge in edges(found) for e in edge[:2]} <= kin


def test_it_outlives_deletion(family: Registry, clock: Any) -> None:
    before = family.lineage("student")
    family.delete_model("student")
    family.delete_version("teacher", 1)
    found = family.lineage(name("student"))
    assert edges(found) == edges(before)
    assert [(n.name, n.kind, n.create_time, n.metadata) for n in found.nodes] == [
        (n.name, n.kind, n.create_time, n.metadata) for n in before.nodes
    ]
    deleted = {n.name.split("/")[1] for n in found.nodes if n.deleted}
    assert deleted == {"student", "teacher"}
    assert found.nodes[0].metadata == {"recipe": "static", "seed": 7, "corpus": "sha256:1"}
    with pytest.raises(NotFound) as caught:
        family.lineage("student")
    assert caught.value.reason == "MODEL_NOT_FOUND"


def test_a_revived_name_keeps_both_lives_apart(family: Registry, make_folder: Any) -> None:
    family.delete_model("student")
    family.publish("student", TEACHER, make_folder(n=b"2"))
    assert names(family.lineage("student")) == ["student"]
    assert names(family.lineage("student@1"))[:2] == ["student", "teacher"]


def test_two_ways_to_one_child_are_two_edges_and_one_node(
    family: Registry, make_folder: Any
) -> None:
    folder = make_folder(n=b"3")
    both = [name("student"), name("teacher")]
    family.publish("mixed", STUDENT, folder, parents=both, relation="distill")
    found = family.lineage("teacher")
    assert names(found).count("mixed") == 1
    assert {e for e in edges(found) if e[1] == "mixed"} == {
        ("student", "mixed", "distill"),
        ("teacher", "mixed", "distill"),
    }
    # The parent's parent is a parent too: an edge between two of the found, however found.
    assert ("teacher", "mixed", "distill") in edges(family.lineage("student"))


def test_an_alias_is_followed(family: Registry) -> None:
    family.set_alias("small", "production", 1)
    assert names(family.lineage("small@production", 1))[0] == "small"


def test_very_large_families_are_cut_at_the_far_end(
    family: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lineage_module, "MAX_NODES", 4)
    found = family.lineage("teacher")
    assert names(found) == ["teacher", "student", "other", "small"]
    assert found.truncated
    assert {e for edge in edges(found) for e in edge[:2]} <= set(names(found))


def test_many_statements_worth_of_children(registry: Registry, make_folder: Any) -> None:
    registry.publish("t", TEACHER, make_folder(n=b"1"))
    from stillroom_registry import schema

    with registry.database.write() as connection:
        for number in range(2, 1203):
            row = {"model_id": 1, "version": number, "kind": "teacher", "metadata": {}, "size": 1}
            row |= {"digest": "sha256:" + "0" * 64, "create_time": registry_time(registry)}
            connection.execute(schema.versions.insert().values(**row))
            parent = {"version_id": number, "position": 0, "parent": name("t")}
            connection.execute(schema.version_parents.insert().values(**parent))
    assert len(registry.lineage("t@1").nodes) == 1202
    assert len(registry.lineage("t@1").edges) == 1201


def registry_time(registry: Registry) -> Any:
    return registry.get_model("t").create_time


@pytest.mark.parametrize(
    ("ask", "error", "field"),
    [
        (lambda r: r.lineage("absent"), NotFound, "model"),
        (lambda r: r.lineage("teacher@9"), NotFound, "model"),
        (lambda r: r.lineage(f"teacher@{10**17}"), NotFound, "model"),
        (lambda r: r.lineage("a/b"), InvalidArgument, "model"),
        (lambda r: r.lineage("teacher", -1), InvalidArgument, "depth"),
    ],
)
def test_bad_questions(
    family: Registry, ask: Callable[[Registry], Any], error: type[Exception], field: str
) -> None:
    with pytest.raises(error) as caught:
        ask(family)
    assert caught.value.field == field


def test_a_relation_is_one_of_four(registry: Registry, make_folder: Any) -> None:
    with pytest.raises(InvalidArgument) as caught:
        registry.publish("m", STUDENT, make_folder(n=b"1"), relation="begat")
    assert caught.value.field == "relation"
    assert registry.list_models().items == ()
