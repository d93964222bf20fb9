"""The files of a version as they are to lie on the Hub, each hashed before it is sent."""

from __future__ import annotations

from collections.abc import Callable

from stillroom_registry.errors import DataLoss, NotFound
from stillroom_registry.names import ModelRef
from stillroom_registry.registry import Registry
from stillroom_registry.values import File, ModelVersion
from stillroom_server.sync import card
from stillroom_server.sync.outbox import Outbox
from stillroom_server.sync.remote_tree import LocalFile, digests
from stillroom_server.sync.values import SyncState

_MAX_ANCESTORS = 20


class VersionFiles:
    """``endpoint`` is the Hub's, as the outbox has it, and ``is_public`` asks it whether anybody
    may see a repository: a card names no other as its base model."""

    def __init__(
        self,
        registry: Registry,
        outbox: Outbox,
        endpoint: str,
        is_public: Callable[[str], bool],
    ) -> None:
        self._registry = registry
        self._outbox = outbox
        self._endpoint = endpoint
        self._is_public = is_public

    def read(self, version: ModelVersion, told: Callable[[int], None]) -> list[LocalFile]:
        """Every file, README.md with what the Hub is to know of it. ``told`` gets the bytes hashed;
        it may raise to stop. Raises DataLoss (BLOB_DAMAGED, BLOB_MISSING)."""
        folder = self._registry.folder(version)
        done = 0
        files: dict[str, LocalFile] = {}
        for file in version.files:
            told(done)
            with self._registry.open_file(version, file.path) as stream:
                sha256, blob_id = digests(stream, file.size, _from(told, done))
            if f"sha256:{sha256}" != file.digest:
                raise _damaged(version, file)
            source = folder / file.path
            files[file.path] = LocalFile(file.path, file.size, sha256, blob_id, source)
            done += file.size
        told(done)
        self._add_card(version, files)
        return list(files.values())

    def _add_card(self, version: ModelVersion, files: dict[str, LocalFile]) -> None:
        own = self._bytes(version, card.CARD) if card.CARD in files else None
        base = self._base_model(version)
        facts = card.facts_of(
            version.name, version.kind.value, frozenset(files), version.metadata, base
        )
        text = card.with_metadata(own, facts)
        if text == own:
            return
        files[card.CARD] = LocalFile.of_bytes(card.CARD, text)
        if card.MANIFEST in files:
            sealed = card.resealed(self._bytes(version, card.MANIFEST), text)
            files[card.MANIFEST] = LocalFile.of_bytes(card.MANIFEST, sealed)

    def _base_model(self, version: ModelVersion) -> str | None:
        """The repository that holds what the version was made from: the nearest that is public."""
        names = list(version.parents)
        for name in names:
            if len(names) > _MAX_ANCESTORS:
                break
            ref = ModelRef.parse(name)
            try:
                parent = self._registry.get_version(ref.model, ref.version or 0)
            except NotFound:
                continue
            repo = self._repo_of(parent)
            if repo is not None and self._is_public(repo):
                return repo
            names += [each for each in parent.parents if each not in names]
        return None

    def _repo_of(self, version: ModelVersion) -> str | None:
        synced = self._outbox.of_versions(version.model, [version.version])[version.version]
        for sync in synced:
            if sync.state is SyncState.DONE and sync.endpoint == self._endpoint:
                return sync.repo
        origin = version.metadata.get("origin")
        hub = origin.get("hub") if isinstance(origin, dict) else None
        repo = hub.get("repo") if isinstance(hub, dict) else None
        return repo if isinstance(repo, str) else None

    def _bytes(self, version: ModelVersion, path: str) -> bytes:
        with self._registry.open_file(version, path) as stream:
            return stream.read()


def _from(told: Callable[[int], None], start: int) -> Callable[[int], None]:
    return lambda done: told(start + done)


def _damaged(version: ModelVersion, file: File) -> DataLoss:
    return DataLoss(
        f"The bytes of {file.path} in {version.name} are damaged; publish or pull it again.",
        reason="BLOB_DAMAGED",
        metadata={"path": file.path, "digest": file.digest},
    )
