"""What holds of every registry at every moment, and of one that was collected."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import sqlalchemy as sa

from stillroom_registry import schema
from stillroom_registry.registry import ModelVersion, Registry


def every_version(registry: Registry) -> list[ModelVersion]:
    """All versions that are listed, each of them whole."""
    found = []
    for model in registry.list_models(1000).items:
        versions = registry.list_versions(model.name, 1000).items
        assert model.latest_version == (versions[0].version if versions else None)
        assert set(model.aliases.values()) <= {version.version for version in versions}
        for version in versions:
            assert version.files
            assert version.size == sum(file.size for file in version.files)
            for file in version.files:
                assert registry.blobs.verify(file.digest) == file.size
        found += versions
    return found


def assert_nothing_leaks(registry: Registry, data_dir: Path) -> None:
    """After a collection there is what versions refer to, and not one blob or row more."""
    versions = every_version(registry)
    now = datetime.now(UTC) + timedelta(hours=2)
    registry.collect_garbage(grace=timedelta(0), now=now)
    sizes = {file.digest: file.size for version in versions for file in version.files}
    stored = {blob.digest: blob.size for blob in registry.blobs.stored()}
    assert stored == sizes
    with registry.database.read() as connection:
        rows = connection.execute(sa.select(schema.blobs.c.digest, schema.blobs.c.size)).all()
        assert dict(map(tuple, rows)) == sizes
        assert connection.execute(sa.select(schema.leases)).all() == []
        assert connection.execute(sa.select(schema.lease_blobs)).all() == []
    assert registry.usage().used_bytes == sum(sizes.values())
    # One scratch folder, that of this opener, with nothing in it.
    (scratch,) = (data_dir / "tmp").iterdir()
    assert list(scratch.iterdir()) == []
    assert every_version(registry) == versions
