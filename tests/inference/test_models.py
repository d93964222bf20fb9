"""The pool: one load a version, old versions that keep serving, a budget, many callers."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from inference.students import write_student
from inference.transformers import naive, write_transformer
from stillroom_registry.errors import DataLoss, FailedPrecondition, Internal, NotFound
from stillroom_registry.registry import Registry
from stillroom_registry.values import ModelKind
from stillroom_server.inference.embedder import StudentEmbedder
from stillroom_server.inference.memory import Memory
from stillroom_server.inference.models import ModelPool
from stillroom_server.inference.registry_models import student_pool


@dataclass(frozen=True)
class Named:
    name: str


class World:
    """References and what they mean, loads that can be held back or made to fail, and a clock."""

    def __init__(self, embedder: StudentEmbedder) -> None:
        self.embedder = embedder
        self.meaning: dict[str, str] = {"m": "models/m/versions/1"}
        self.broken: dict[str, BaseException] = {}
        self.loads: list[str] = []
        self.may_load = threading.Event()
        self.may_load.set()
        self.time = 100.0

    def resolve(self, ref: str) -> Named:
        if ref.startswith("models/") and ref in self.meaning.values():
            return Named(ref)
        if ref not in self.meaning:
            raise NotFound(f"no {ref}", reason="MODEL_NOT_FOUND")
        return Named(self.meaning[ref])

    def load(self, version: Named) -> StudentEmbedder:
        self.loads.append(version.name)
        assert self.may_load.wait(60)
        if version.name in self.broken:
            raise self.broken[version.name]
        return self.embedder

    def pool(self, models: float = 100) -> ModelPool[Named, StudentEmbedder]:
        return ModelPool(
            self.resolve,
            self.load,
            memory=Memory(int(models * self.embedder.info.memory_bytes)),
            clock=lambda: self.time,
        )


@pytest.fixture
def world(folder: Path) -> World:
    return World(StudentEmbedder.load(folder, tokenizer="huggingface"))


async def test_loads_once_and_then_without_waiting(world: World) -> None:
    pool = world.pool()
    assert pool.try_get("m") is None
    model = await pool.get("m")
    assert model.name == "models/m/versions/1"
    assert model.served.embed(["the card"]).vectors.any()
    assert pool.try_get("m") is model
    assert await pool.get("m") is model
    assert pool.get_blocking("models/m/versions/1") is model
    assert world.loads == ["models/m/versions/1"]
    assert pool.loaded() == [model]
    assert pool.nbytes == model.nbytes == world.embedder.info.memory_bytes
    with pytest.raises(NotFound):
        pool.try_get("other")


async def test_many_callers_share_one_load(world: World) -> None:
    pool = world.pool()
    world.may_load.clear()
    waiters = [asyncio.create_task(pool.get("m")) for _ in range(20)]
    with ThreadPoolExecutor(4) as threads:
        blocked = [threads.submit(pool.get_blocking, "m") for _ in range(4)]
        await asyncio.sleep(0)
        waiters[0].cancel()
        await asyncio.sleep(0)
        world.may_load.set()
        models = await asyncio.gather(*waiters[1:])
        models += [one.result() for one in blocked]
    assert waiters[0].cancelled()
    assert len({id(model) for model in models}) == 1
    assert world.loads == ["models/m/versions/1"]


async def test_an_alias_that_moves_swaps_models(world: World) -> None:
    pool = world.pool()
    first = await pool.get("m")
    world.meaning["m"] = "models/m/versions/2"
    assert pool.try_get("m") is None
    second = await pool.get("m")
    assert second.name == "models/m/versions/2"
    assert [model.name for model in pool.loaded()] == [first.name, second.name]


async def test_the_old_version_serves_while_the_new_one_does_not_load(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    pool = world.pool()
    first = await pool.get("m")
    world.meaning["m"] = "models/m/versions/2"
    world.broken["models/m/versions/2"] = DataLoss("torn", reason="SAFETENSORS_CORRUPT")
    assert await pool.get("m") is first
    assert pool.try_get("m") is first
    assert pool.get_blocking("m") is first
    (failure,) = pool.failures()
    assert failure.name == "models/m/versions/2"
    assert failure.error.reason == "SAFETENSORS_CORRUPT"
    assert world.loads.count("models/m/versions/2") == 1
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    for word in ("models/m/versions/2", "SAFETENSORS_CORRUPT", "torn", "served them before"):
        assert word in record.getMessage()
    # By its own name it is not replaced by another version.
    for _ in range(2):
        with pytest.raises(DataLoss):
            await pool.get("models/m/versions/2")
    # Tried again after a while, and then it serves.
    world.time += 31
    assert pool.try_get("m") is None
    del world.broken["models/m/versions/2"]
    assert (await pool.get("m")).name == "models/m/versions/2"
    assert pool.failures() == []


@pytest.mark.parametrize("get", ["get", "get_blocking"])
async def test_a_first_version_that_does_not_load_is_an_error_each_time(
    world: World, get: str
) -> None:
    pool = world.pool()
    world.broken["models/m/versions/1"] = DataLoss("torn", reason="SAFETENSORS_CORRUPT")
    raised = []
    for _ in range(3):
        with pytest.raises(DataLoss) as caught:
            await pool.get("m") if get == "get" else pool.get_blocking("m")
        raised.append(caught.value)
    with pytest.raises(DataLoss):
        pool.try_get("m")
    assert {error.reason for error in raised} == {"SAFETENSORS_CORRUPT"}
    assert len({id(error) for error in raised}) == 3
    assert len(world.loads) == 1
    assert pool.loaded() == []


class Panic(BaseException):
    pass


@pytest.mark.parametrize("failure", [MemoryError("no room"), Panic("index")])
async def test_any_failure_becomes_an_error_of_ours(world: World, failure: BaseException) -> None:
    pool = world.pool()
    world.broken["models/m/versions/1"] = failure
    with pytest.raises(Internal) as caught:
        await pool.get("m")
    assert caught.value.reason == "MODEL_LOAD_FAILED"
    assert caught.value.metadata == {"model": "models/m/versions/1"}
    world.time += 31
    world.broken.clear()
    assert await pool.get("m")


async def test_the_least_recently_used_go_when_memory_is_short(world: World) -> None:
    pool = world.pool(models=2.5)
    names = [f"models/m/versions/{number}" for number in range(1, 5)]
    world.meaning = {f"m@{number}": name for number, name in enumerate(names, 1)}

    def held() -> list[str]:
        return [model.name[-1] for model in pool.loaded()]

    for ref, expected in (("m@1", "1"), ("m@2", "12"), ("m@1", "12"), ("m@3", "13"), ("m@4", "34")):
        world.time += 1
        await pool.get(ref)
        assert held() == list(expected)
    assert pool.try_get("m@1") is None
    tight = world.pool(models=0.5)
    await tight.get("m@1")
    assert len(tight.loaded()) == 1  # the newest stays, or nothing would ever serve
    await tight.get("m@2")
    assert [model.name[-1] for model in tight.loaded()] == ["2"]


async def test_pools_share_one_budget(world: World) -> None:
    size = world.embedder.info.memory_bytes
    memory = Memory(int(2.5 * size))
    world.meaning = {f"m@{number}": f"models/m/versions/{number}" for number in range(1, 4)}

    def pool() -> ModelPool[Named, StudentEmbedder]:
        return ModelPool(world.resolve, world.load, memory=memory, clock=lambda: world.time)

    one, other = pool(), pool()
    for each, ref in ((one, "m@1"), (other, "m@2"), (one, "m@1"), (other, "m@3")):
        world.time += 1
        await each.get(ref)
    assert [model.name[-1] for model in one.loaded()] == ["1"]
    assert [model.name[-1] for model in other.loaded()] == ["3"]
    assert one.nbytes + other.nbytes == 2 * size


async def test_deleted_versions_are_dropped(world: World) -> None:
    pool = world.pool()
    model = await pool.get("m")
    assert pool.prune() == []
    world.meaning["n"] = "models/n/versions/1"
    world.broken["models/n/versions/1"] = DataLoss("torn")
    with pytest.raises(DataLoss):
        await pool.get("n")
    assert pool.prune() == []
    assert pool.failures()
    world.meaning.clear()
    assert pool.prune() == [model.name]
    assert pool.loaded() == []
    assert pool.failures() == []
    assert not pool.discard(model.name)
    assert model.served.embed(["the"]).vectors.any()  # those who hold it go on


async def test_a_closed_pool_still_answers_what_it_has(world: World) -> None:
    pool = world.pool()
    await pool.get("m")
    pool.close()
    assert pool.try_get("m") is not None


def publish(registry: Registry, folder: Path, **files: object) -> int:
    return registry.publish(
        "tiny",
        ModelKind.STUDENT,
        write_student(folder, **files),  # type: ignore[arg-type]
    ).version


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry.open(tmp_path / "data")


async def test_students_of_the_registry(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = publish(registry, tmp_path / "a", seed=1)
    pool = student_pool(registry, tokenizer="huggingface", cache=tmp_path / "verdicts")
    served = await pool.get("tiny")
    assert served.name == f"models/tiny/versions/{first}"
    assert pool.try_get("tiny") is served
    second = publish(registry, tmp_path / "b", seed=2)
    assert pool.try_get("tiny") is None
    swapped = await pool.get("tiny")
    assert swapped.name == f"models/tiny/versions/{second}"
    assert (swapped.served.embed(["the"]).vectors != served.served.embed(["the"]).vectors).any()
    third = publish(registry, tmp_path / "c", config={"normalize": "yes"})
    assert await pool.get("tiny") is swapped
    (failure,) = pool.failures()
    assert failure.name == f"models/tiny/versions/{third}"
    with pytest.raises(DataLoss):
        await pool.get(f"tiny@{third}")
    registry.delete_version("tiny", first)
    assert pool.prune() == [f"models/tiny/versions/{first}"]


async def test_an_alias_moves_between_kinds_of_students(registry: Registry, tmp_path: Path) -> None:
    publish(registry, tmp_path / "a")
    folder = write_transformer(tmp_path / "b")
    registry.publish("tiny", ModelKind.STUDENT, folder)
    registry.set_alias("tiny", "live", 1)
    pool = student_pool(registry, tokenizer="huggingface", engine="gather")
    static = await pool.get("tiny@live")
    registry.set_alias("tiny", "live", 2)
    transformer = await pool.get("tiny@live")
    expected = [naive(folder, "the card")]
    assert static.info.engine == "gather"
    assert transformer.info.engine == "onnxruntime"
    assert transformer.nbytes == transformer.info.memory_bytes > 0
    np.testing.assert_allclose(transformer.served.embed(["the card"]).vectors, expected, atol=1e-6)
    registry.set_alias("tiny", "live", 1)
    assert pool.try_get("tiny@live") is static


async def test_only_students_embed(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "config.json").write_text("{}")
    registry.publish("teacher", ModelKind.TEACHER, tmp_path / "t")
    pool = student_pool(registry)
    for call in (pool.try_get, pool.get_blocking):
        with pytest.raises(FailedPrecondition) as caught:
            call("teacher")
        assert caught.value.reason == "NOT_A_STUDENT"
