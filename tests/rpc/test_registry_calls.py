"""Updates, lists, rollbacks, histories and lineage over the wire."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import field_mask_pb2
from serving import Details, Serving, serving

from rpc.conftest import publish_models
from stillroom.v1 import model_pb2
from stillroom.v1 import model_service_pb2 as pb
from stillroom.v1.model_service_pb2_grpc import ModelServiceStub
from stillroom_registry.errors import InvalidArgument
from stillroom_registry.registry import ModelKind, Registry
from stillroom_registry.values import Lineage, LineageEdge, LineageNode, system_clock
from stillroom_server.rpc import lineage

LONG = "a" * 10_000
BAD_NAMES = [
    *("", ".", "..", "../s", "a/b", "/s", "models/", "models/s/", "models/s/versions/x", "a\\b"),
    *("-a", "A", "a b", "a\n", "a\x00", "\u0430", "\uff41", "caf\u00e9", LONG, f"models/{LONG}"),
]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Beside ``s`` and ``t``: ``d``, distilled from ``t`` and deleted, and ``c``, trained on it."""
    data, scratch = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("scratch")
    publish_models(data, scratch)
    registry = Registry.open(data)
    teacher = registry.resolve("t")
    facts = {"recipe": "static", "options": {"dimensions": 8}, "report": {"large": "x" * 1000}}
    student = registry.publish(
        "d", ModelKind.STUDENT, scratch / "student", metadata=facts, parents=[teacher.name]
    )
    trained = {"classifier": {"options": {"seed": 7}, "labels": ["a"]}}
    registry.publish(
        "c",
        ModelKind.CLASSIFIER,
        scratch / "teacher",
        metadata=trained,
        parents=[student.name],
        labels={"team": "search"},
    )
    registry.delete_model("d")
    registry.close()
    return data


@pytest.fixture(scope="module")
def running(data: Path) -> Iterator[Serving]:
    with serving(data) as server:
        yield server


@pytest.fixture(scope="module")
def stub(running: Serving) -> ModelServiceStub:
    return ModelServiceStub(running.channel)


def refused(call: Any, request: Any) -> Details:
    def ask() -> None:
        answer = call(request)
        if hasattr(answer, "__iter__"):
            list(answer)

    with pytest.raises(grpc.RpcError) as caught:
        ask()
    return Details(caught.value)


def update(stub: ModelServiceStub, *paths: str, mask: bool = True, **model: Any) -> model_pb2.Model:
    chosen = field_mask_pb2.FieldMask(paths=paths) if mask else None
    request = pb.UpdateModelRequest(model=model_pb2.Model(**model), update_mask=chosen)
    return stub.UpdateModel(request).model


def test_an_update_changes_what_its_mask_names(stub: ModelServiceStub) -> None:
    both = update(stub, "description", "labels", name="s", description="one", labels={"a": "b"})
    assert (both.description, dict(both.labels)) == ("one", {"a": "b"})
    only = update(stub, "description", name="models/s", description="two", labels={"c": "d"})
    assert (only.description, dict(only.labels)) == ("two", {"a": "b"})
    emptied = update(stub, "labels", name="s", description="three")
    assert (emptied.description, dict(emptied.labels)) == ("two", {})
    unmasked = update(stub, name="s", labels={"e": "f"}, mask=False)
    assert (unmasked.description, dict(unmasked.labels)) == ("two", {"e": "f"})
    nothing = update(stub, name="s", description="four")
    assert (nothing.description, nothing.etag) == ("two", unmasked.etag)
    assert len({both.etag, only.etag, emptied.etag, unmasked.etag}) == 4
    assert unmasked.update_time.ToNanoseconds() >= both.update_time.ToNanoseconds()


def test_an_etag_that_is_old_changes_nothing(stub: ModelServiceStub) -> None:
    first = update(stub, "description", name="t", description="first")
    update(stub, "description", name="t", description="second", etag=first.etag)
    request = pb.UpdateModelRequest(
        model=model_pb2.Model(name="t", description="third", etag=first.etag)
    )
    details = refused(stub.UpdateModel, request)
    assert (details.code.name, details.info.reason) == ("ABORTED", "ETAG_MISMATCH")
    assert stub.GetModel(pb.GetModelRequest(name="t")).model.description == "second"


def test_an_update_repeats_safely(stub: ModelServiceStub) -> None:
    request = pb.UpdateModelRequest(
        model=model_pb2.Model(name="t", description="once"), request_id=str(uuid.uuid4())
    )
    answer = stub.UpdateModel(request).model
    update(stub, "description", name="t", description="since")
    assert stub.UpdateModel(request).model == answer
    assert stub.GetModel(pb.GetModelRequest(name="t")).model.description == "since"
    request.model.description = "other"
    assert refused(stub.UpdateModel, request).info.reason == "REQUEST_ID_REUSED"


@pytest.mark.parametrize(
    ("model", "paths", "field"),
    [
        ({"name": "t"}, ["name"], "update_mask"),
        ({"name": "t"}, ["labels.team"], "update_mask"),
        ({"name": "t"}, ["*"], "update_mask"),
        ({"name": "t"}, ["description", LONG], "update_mask"),
        ({"name": "t", "description": "é" * 2049}, ["description"], "model.description"),
        ({"name": "t", "labels": {"": "v"}}, ["labels"], "model.labels"),
        ({"name": "t", "labels": {"A": "v"}}, ["labels"], "model.labels"),
        ({"name": "t", "labels": {"a": "v" * 257}}, ["labels"], "model.labels"),
        ({"name": "t", "labels": {f"k{i}": "" for i in range(65)}}, ["labels"], "model.labels"),
        ({"name": "t@1"}, [], "model.name"),
        ({}, [], "model.name"),
    ],
)
def test_updates_that_are_refused(
    stub: ModelServiceStub, model: dict[str, Any], paths: list[str], field: str
) -> None:
    before = stub.GetModel(pb.GetModelRequest(name="t"))
    mask = field_mask_pb2.FieldMask(paths=paths)
    request = pb.UpdateModelRequest(model=model_pb2.Model(**model), update_mask=mask)
    details = refused(stub.UpdateModel, request)
    assert (details.code.name, details.field) == ("INVALID_ARGUMENT", field)
    assert len(details.message) < 1_000
    assert stub.GetModel(pb.GetModelRequest(name="t")) == before


def names(stub: ModelServiceStub, **request: Any) -> list[str]:
    return [m.name for m in stub.ListModels(pb.ListModelsRequest(**request)).models]


def test_lists_are_filtered_and_ordered(stub: ModelServiceStub) -> None:
    assert names(stub, filter='labels.team = "search"') == ["models/c"]
    assert names(stub, filter="kind = teacher OR kind = classifier") == ["models/c", "models/t"]
    assert names(stub, filter="NOT labels.team : *", order_by="name desc") == [
        "models/t",
        "models/s",
    ]
    assert names(stub, order_by="create_time")[-1] == "models/c"
    first = stub.ListModels(pb.ListModelsRequest(page_size=1, order_by="name desc"))
    token = first.next_page_token
    assert names(stub, page_size=1, order_by="name desc", page_token=token) == ["models/s"]
    other = pb.ListModelsRequest(page_size=1, order_by="name", page_token=token)
    assert refused(stub.ListModels, other).info.reason == "BAD_PAGE_TOKEN"
    details = refused(stub.ListModels, pb.ListModelsRequest(filter="name = 's' )"))
    assert details.info.reason == "BAD_FILTER"
    assert details.info.metadata["position"]


def test_an_alias_rolls_back_and_every_move_is_told(stub: ModelServiceStub) -> None:
    for version in (1, 2):
        stub.SetModelAlias(pb.SetModelAliasRequest(model="s", alias="live", version=version))
    stub.SetModelAlias(pb.SetModelAliasRequest(model="s", alias="else", version=1))
    request = pb.RollBackModelAliasRequest(
        model="s", alias="live", expected_version=2, request_id=str(uuid.uuid4())
    )
    alias = stub.RollBackModelAlias(request).alias
    assert (alias.name, alias.version) == ("models/s/aliases/live", 1)
    assert stub.RollBackModelAlias(request).alias == alias  # the recorded answer
    request.request_id = ""
    details = refused(stub.RollBackModelAlias, request)
    assert (details.code.name, details.info.reason) == ("ABORTED", "ALIAS_MOVED")
    moves = stub.ListAliasEvents(pb.ListAliasEventsRequest(parent="models/s", alias="live")).events
    assert [(m.from_version, m.to_version) for m in moves] == [(2, 1), (1, 2), (0, 1)]
    assert {m.alias for m in moves} == {"models/s/aliases/live"}
    assert {m.actor for m in moves} == {""}
    assert moves[0].event_time.ToNanoseconds() >= moves[-1].event_time.ToNanoseconds() > 0
    listed: list[str] = []
    page = pb.ListAliasEventsRequest(parent="s", page_size=3)
    while True:
        answer = stub.ListAliasEvents(page)
        listed += [event.alias for event in answer.events]
        page.page_token = answer.next_page_token
        if not page.page_token:
            break
    assert len(listed) == 4
    assert listed[1] == "models/s/aliases/else"


@pytest.mark.parametrize(
    ("method", "request_", "code", "reason", "field"),
    [
        (
            "RollBackModelAlias",
            pb.RollBackModelAliasRequest(model="s", alias="never"),
            *("NOT_FOUND", "ALIAS_NOT_FOUND", "alias"),
        ),
        (
            "RollBackModelAlias",
            pb.RollBackModelAliasRequest(model="s", alias="../x"),
            *("INVALID_ARGUMENT", "BAD_ALIAS_NAME", "alias"),
        ),
        (
            "ListAliasEvents",
            pb.ListAliasEventsRequest(parent="s", alias="A"),
            *("INVALID_ARGUMENT", "BAD_ALIAS_NAME", "alias"),
        ),
        (
            "ListAliasEvents",
            pb.ListAliasEventsRequest(parent="s", page_size=-1),
            *("INVALID_ARGUMENT", "BAD_PAGE_SIZE", "page_size"),
        ),
        (
            "GetLineage",
            pb.GetLineageRequest(name="s", depth=-1),
            *("INVALID_ARGUMENT", "BAD_DEPTH", "depth"),
        ),
        (
            "GetLineage",
            pb.GetLineageRequest(name="d@9"),
            *("NOT_FOUND", "VERSION_NOT_FOUND", "name"),
        ),
        ("GetLineage", pb.GetLineageRequest(name="d"), *("NOT_FOUND", "MODEL_NOT_FOUND", "name")),
        (
            "GetModelVersion",
            pb.GetModelVersionRequest(name="s@nowhere"),
            *("NOT_FOUND", "ALIAS_NOT_FOUND", "name"),
        ),
        (
            "VerifyModelVersion",
            pb.VerifyModelVersionRequest(name="s@99"),
            *("NOT_FOUND", "VERSION_NOT_FOUND", "name"),
        ),
        (
            "CollectGarbage",
            pb.CollectGarbageRequest(grace_period={"seconds": -1}),
            *("INVALID_ARGUMENT", "INVALID_ARGUMENT", "grace_period"),
        ),
        (
            "CollectGarbage",
            pb.CollectGarbageRequest(grace_period={"nanos": -1}),
            *("INVALID_ARGUMENT", "INVALID_ARGUMENT", "grace_period"),
        ),
        (
            "CollectGarbage",
            pb.CollectGarbageRequest(grace_period={"seconds": 1, "nanos": -1}),
            *("INVALID_ARGUMENT", "INVALID_ARGUMENT", "grace_period"),
        ),
    ],
)
def test_bad_requests(
    stub: ModelServiceStub, method: str, request_: Any, code: str, reason: str, field: str
) -> None:
    details = refused(getattr(stub, method), request_)
    assert (details.code.name, details.info.reason) == (code, reason)
    assert details.field in (field, "")


@pytest.mark.parametrize("name", BAD_NAMES)
def test_names_that_name_nothing(running: Serving, stub: ModelServiceStub, name: str) -> None:
    before = {m.name: m.etag for m in stub.ListModels(pb.ListModelsRequest()).models}
    for method, request in [
        ("GetModel", pb.GetModelRequest(name=name)),
        ("UpdateModel", pb.UpdateModelRequest(model=model_pb2.Model(name=name, description="x"))),
        ("DeleteModel", pb.DeleteModelRequest(name=name, force=True)),
        ("ListModelVersions", pb.ListModelVersionsRequest(parent=name)),
        ("GetModelVersion", pb.GetModelVersionRequest(name=name)),
        ("DeleteModelVersion", pb.DeleteModelVersionRequest(name=name, force=True)),
        ("SetModelAlias", pb.SetModelAliasRequest(model=name, alias="a", version=1)),
        ("DeleteModelAlias", pb.DeleteModelAliasRequest(model=name, alias="a")),
        ("RollBackModelAlias", pb.RollBackModelAliasRequest(model=name, alias="a")),
        ("ListAliasEvents", pb.ListAliasEventsRequest(parent=name)),
        ("GetLineage", pb.GetLineageRequest(name=name)),
        ("VerifyModelVersion", pb.VerifyModelVersionRequest(name=name)),
        ("DownloadModelVersion", pb.DownloadModelVersionRequest(name=name)),
        ("ImportModel", pb.ImportModelRequest(name=name, source={"hub": {"repo": "a/b"}})),
        ("PullModel", pb.PullModelRequest(name=name, source={"repo": "a/b"})),
    ]:
        details = refused(getattr(stub, method), request)
        assert details.code is grpc.StatusCode.INVALID_ARGUMENT, method
        assert details.info.reason == "BAD_MODEL_NAME", method
        assert details.field in ("name", "parent", "model", "model.name"), method
        assert len(details.status.SerializeToString()) < 7_000, method
    assert {m.name: m.etag for m in stub.ListModels(pb.ListModelsRequest()).models} == before


@pytest.mark.parametrize("alias", [name for name in BAD_NAMES if name])
def test_aliases_that_are_none(stub: ModelServiceStub, alias: str) -> None:
    before = stub.GetModel(pb.GetModelRequest(name="s")).model
    for method, request in [
        ("SetModelAlias", pb.SetModelAliasRequest(model="s", alias=alias, version=1)),
        ("DeleteModelAlias", pb.DeleteModelAliasRequest(model="s", alias=alias)),
        ("RollBackModelAlias", pb.RollBackModelAliasRequest(model="s", alias=alias)),
        ("ListAliasEvents", pb.ListAliasEventsRequest(parent="s", alias=alias)),
    ]:
        details = refused(getattr(stub, method), request)
        assert (details.code.name, details.field) == ("INVALID_ARGUMENT", "alias"), method
        assert details.info.reason == "BAD_ALIAS_NAME", method
        assert len(details.status.SerializeToString()) < 7_000, method
    assert stub.GetModel(pb.GetModelRequest(name="s")).model == before


def test_lineage_goes_through_what_is_deleted(stub: ModelServiceStub) -> None:
    found = stub.GetLineage(pb.GetLineageRequest(name="c"))
    nodes = {node.model_version: node for node in found.nodes}
    student = "models/d/versions/1"
    assert list(nodes) == ["models/c/versions/1", student, "models/t/versions/1"]
    assert [(e.parent, e.child, e.relation) for e in found.edges] == [
        ("models/t/versions/1", student, "distill"),
        (student, "models/c/versions/1", "train"),
    ]
    assert [node.deleted for node in nodes.values()] == [False, True, False]
    assert nodes[student].kind == model_pb2.MODEL_KIND_STUDENT
    assert nodes[student].create_time.seconds > 0
    assert nodes[student].metadata["options"]["dimensions"] == 8
    assert "report" not in nodes[student].metadata
    assert nodes["models/c/versions/1"].metadata["options"]["seed"] == 7
    assert not found.truncated
    near = stub.GetLineage(pb.GetLineageRequest(name="models/c/versions/1", depth=1))
    assert [node.model_version for node in near.nodes] == ["models/c/versions/1", student]
    gone = stub.GetLineage(pb.GetLineageRequest(name=student))
    assert gone.nodes[0].model_version == student
    assert len(gone.nodes) == 3


def chain(length: int, facts: dict[str, Any]) -> Lineage:
    names = [f"models/m/versions/{number}" for number in range(length)]
    moment = system_clock()
    return Lineage(
        nodes=tuple(LineageNode(n, ModelKind.STUDENT, False, moment, facts) for n in names),
        edges=tuple(LineageEdge(a, b, "copy") for a, b in pairwise(names)),
        truncated=True,
    )


def test_a_large_lineage_keeps_the_facts_of_the_nearest() -> None:
    answer = lineage.response(chain(50, {"recipe": "x" * 1000}), 40_000)
    assert answer.truncated
    with_facts = [bool(node.metadata.fields) for node in answer.nodes]
    assert with_facts == sorted(with_facts, reverse=True)
    assert 5 < sum(with_facts) < 12
    assert answer.ByteSize() <= 40_000
    huge = lineage.response(chain(1, {"recipe": "x" * 100_000}), 4_000_000)
    assert not huge.nodes[0].metadata.fields


def test_a_lineage_that_no_answer_holds_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="fewer steps") as caught:
        lineage.response(chain(50, {}), 2_000)
    assert (caught.value.reason, caught.value.field) == ("RESPONSE_TOO_LARGE", "depth")


def test_a_move_is_told_with_who_made_it(tmp_path: Path) -> None:
    publish_models(tmp_path / "data", tmp_path)
    tokens = tmp_path / "tokens"
    tokens.write_text(f"ann {'a' * 20}\nben {'b' * 20}\n")
    tokens.chmod(0o600)
    with serving(tmp_path / "data", token_file=tokens) as server:
        stub = ModelServiceStub(server.channel)
        ann, ben = ((("authorization", f"Bearer {letter * 20}"),) for letter in "ab")
        for version in (1, 2):
            request = pb.SetModelAliasRequest(model="s", alias="live", version=version)
            stub.SetModelAlias(request, metadata=ann)
        stub.RollBackModelAlias(pb.RollBackModelAliasRequest(model="s", alias="live"), metadata=ben)
        stub.DeleteModelVersion(pb.DeleteModelVersionRequest(name="s@1", force=True), metadata=ben)
        found = stub.ListAliasEvents(pb.ListAliasEventsRequest(parent="s"), metadata=ann)
    moves = [(event.actor, event.from_version, event.to_version) for event in found.events]
    assert moves == [("ben", 1, 0), ("ben", 2, 1), ("ann", 1, 2), ("ann", 0, 1)]
