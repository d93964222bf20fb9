from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

from grpc_health.v1 import health_pb2, health_pb2_grpc
from inference.students import write_student
from prometheus_client import CollectorRegistry
from serving import serving

from rpc.conftest import publish_models
from stillroom_registry.database import Database
from stillroom_registry.datadir import DATABASE_FILE, DataDirectory
from stillroom_registry.registry import Registry
from stillroom_registry.values import ModelKind
from stillroom_server.housekeeping import Housekeeper
from stillroom_server.parts import build
from stillroom_server.rpc.health import Health
from stillroom_server.settings import Settings


async def test_old_operations_and_unreferenced_blobs_go(tmp_path: Path) -> None:
    with DataDirectory.open(tmp_path / "data") as directory:
        database = Database.open(directory.path / DATABASE_FILE)
        registry = Registry.open(directory.path, database=database)
        moment = datetime.now(UTC)
        settings = Settings(data_dir=tmp_path / "data", operation_days=1)
        parts = build(settings, directory.path, registry, CollectorRegistry(), lambda: moment)
        registry.publish("s", ModelKind.STUDENT, write_student(tmp_path / "student"))
        digest = registry.resolve("s").files[0].digest
        registry.delete_model("s")
        ended = parts.operations.create("import", {})
        parts.operations.request_cancel(ended.id)
        waiting = parts.operations.create("import", {})

        keeper = Housekeeper(parts, Health([]), now=lambda: moment + timedelta(hours=23))
        await keeper.expire()
        assert parts.operations.get(ended.id).done
        assert not registry.blobs.exists(digest)

        keeper = Housekeeper(parts, Health([]), now=lambda: moment + timedelta(hours=25))
        await keeper.expire()
        assert [item.id for item in parts.operations.list().items] == [waiting.id]
        parts.pool.close()
        registry.close()
        database.close()


async def test_what_nobody_looked_at_for_long_is_scrubbed(tmp_path: Path) -> None:
    with DataDirectory.open(tmp_path / "data") as directory:
        moment = datetime.now(UTC)
        registry = Registry.open(directory.path)
        registry.publish("s", ModelKind.STUDENT, write_student(tmp_path / "student"))
        version = registry.resolve("s")
        blob = registry.blobs.path(version.files[0].digest)
        blob.chmod(0o600)
        blob.write_bytes(b"damaged")
        for days, found in ((6, 0), (8, 1)):
            later = moment + timedelta(days=days)
            metrics = CollectorRegistry()
            parts = build(
                Settings(data_dir=tmp_path / "data", scrub_days=7),
                directory.path,
                registry,
                metrics,
                lambda later=later: later,
            )
            keeper = Housekeeper(parts, Health([]))
            await keeper.scrub()
            await keeper.stop()
            assert len(registry.damaged_files(version)) == found
            ended = metrics.get_sample_value("stillroom_registry_last_scrub_timestamp_seconds")
            assert ended == later.timestamp()
            parts.pool.close()
        never = Settings(data_dir=tmp_path / "data", scrub_days=0)
        parts = build(never, directory.path, registry, CollectorRegistry())
        keeper = Housekeeper(parts, Health([]))
        await keeper.scrub()
        await keeper.stop()
        parts.pool.close()
        registry.close()


async def test_a_stop_does_not_wait_for_the_scrubber(tmp_path: Path) -> None:
    with DataDirectory.open(tmp_path / "data") as directory:
        registry = Registry.open(directory.path)
        (tmp_path / "large").mkdir()
        (tmp_path / "large" / "config.json").write_bytes(bytes(60_000_000))  # a minute's worth
        registry.publish("large", ModelKind.STUDENT, tmp_path / "large")
        parts = build(
            Settings(data_dir=tmp_path / "data", scrub_days=1, scrub_bytes_per_second=1_000_000),
            directory.path,
            registry,
            CollectorRegistry(),
            lambda: datetime.now(UTC) + timedelta(days=2),
        )
        keeper = Housekeeper(parts, Health([]))
        scrubbing = asyncio.create_task(keeper.scrub())
        await asyncio.sleep(0)
        async with asyncio.timeout(20):
            await keeper.stop()
            await scrubbing
        assert parts.scrubber is not None
        assert parts.scrubber.last_round is None
        parts.pool.close()
        registry.close()


def test_a_model_that_comes_is_served_and_one_that_goes_is_unknown(tmp_path: Path) -> None:
    publish_models(tmp_path / "data", tmp_path)
    with serving(tmp_path / "data") as running:
        health = health_pb2_grpc.HealthStub(running.channel)
        watch = health.Watch(health_pb2.HealthCheckRequest(service="models/new"), timeout=60)
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
        other = Registry.open(tmp_path / "data")  # as the runner does
        other.publish("new", ModelKind.STUDENT, tmp_path / "student")
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        other.delete_model("new")
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
        other.close()
