"""A dataset of the Hub: its revision is pinned, its files are downloaded and checked, then read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from stillroom_registry.errors import StillroomError
from stillroom_registry.safe_files import check_path
from stillroom_server.distillation.corpus.dataset_files import choose_files
from stillroom_server.distillation.corpus.formats import MAX_SOURCE_BYTES, Reader, too_large
from stillroom_server.distillation.corpus.opening import open_own
from stillroom_server.distillation.corpus.shards import write_whole
from stillroom_server.distillation.corpus.source import DatasetSource
from stillroom_server.hub.access import HubAccess
from stillroom_server.hub.failures import translated
from stillroom_server.hub.integrity import ListedFile, verify

_FIELD = "corpus.dataset"
_PINNED = "pinned.json"


@dataclass(frozen=True)
class Pinned:
    """What the revision meant when it was first asked for: a later attempt reads the same."""

    commit: str
    files: tuple[ListedFile, ...]


@dataclass(frozen=True)
class Fetched:
    """A file of the dataset, called ``name`` there, on disk."""

    path: Path
    name: str
    size: int


class Dataset:
    """``folder`` is its own; whole files there are not downloaded again. ``field`` is the request's
    that names the dataset, for errors; its files may have ``limit`` bytes."""

    def __init__(
        self,
        source: DatasetSource,
        folder: Path,
        hub: HubAccess,
        *,
        field: str = _FIELD,
        limit: int = MAX_SOURCE_BYTES,
    ) -> None:
        self._source = source
        self._folder = folder
        self._api: Any = None
        self._hub = hub
        self._field = field
        self._limit = limit
        self.origin: dict[str, Any] = {}

    def lines(self, told: Callable[[int, int], None]) -> Iterator[list[str]]:
        """The records of the split, file after file in the order of their names. ``told`` gets
        bytes done and in all, half of them downloading; it may raise to stop.

        Raises what ``fetch`` and ``Reader.read`` raise.
        """
        fetched = self.fetch(lambda done, total: told(done, 2 * total))
        total = sum(file.size for file in fetched)
        done = total
        for file in fetched:
            reader = Reader(self._source.column, self._field, _from(told, done, 2 * total))
            with open_own(file.path, self._field) as stream:
                yield from reader.read(stream, file.name, file.size)
            done += file.size

    def fetch(self, told: Callable[[int, int], None]) -> list[Fetched]:
        """The files of the split, in the order of their names. ``told`` gets bytes done and in all;
        it may raise to stop.

        Raises what ``translated``, ``choose_files`` and ``verify`` raise, ResourceExhausted
        (CORPUS_TOO_LARGE).
        """
        try:
            pinned = self._load_pinned() or self._pin()
            self._set_origin(pinned)
            sizes = [file.size or 0 for file in pinned.files]
            total, done = sum(sizes), 0
            for number, file in enumerate(pinned.files):
                self._fetch(number, file, pinned, _from(told, done, total))
                done += sizes[number]
        except StillroomError:
            raise
        except Exception as error:
            source = self._source
            raise translated(
                error, source.repo, source.revision, kind="dataset", field=self._field
            ) from error
        return [
            Fetched(self._path(number), file.path, sizes[number])
            for number, file in enumerate(pinned.files)
        ]

    def forget(self) -> None:
        """Removes the downloads, when the corpus is made."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _pin(self) -> Pinned:
        source = self._source
        info = self._client().dataset_info(
            source.repo, revision=source.revision, files_metadata=True
        )
        listed = {file.rfilename: ListedFile.of(file) for file in info.siblings or []}
        card: Any = info.card_data
        configs = card.get("configs") if card is not None else None
        chosen = choose_files(list(listed), source.split, configs, f"{self._field}.split")
        files = tuple(listed[check_path(path, self._field)] for path in chosen)
        if sum(file.size or 0 for file in files) > self._limit:
            raise too_large(f"more than {self._limit:,} bytes", self._field)
        pinned = Pinned(str(info.sha), files)
        self._folder.mkdir(parents=True, exist_ok=True)
        write_whole(self._folder / _PINNED, json.dumps(asdict(pinned)).encode())
        return pinned

    def _load_pinned(self) -> Pinned | None:
        try:
            value = json.loads((self._folder / _PINNED).read_bytes())
        except FileNotFoundError:
            return None
        return Pinned(value["commit"], tuple(ListedFile(**file) for file in value["files"]))

    def _set_origin(self, pinned: Pinned) -> None:
        source = self._source
        self.origin["dataset"] = {
            "repo": source.repo,
            "revision": source.revision,
            "commit": pinned.commit,
            "split": source.split,
            "column": source.column,
            "files": len(pinned.files),
        }

    def _fetch(
        self, number: int, file: ListedFile, pinned: Pinned, told: Callable[[int], None]
    ) -> None:
        target = self._path(number)
        told(0)
        if not target.exists():
            path = self._client().hf_hub_download(
                self._source.repo,
                file.path,
                repo_type="dataset",
                revision=pinned.commit,
                local_dir=self._folder / "files",
                tqdm_class=_telling(told),
            )
            verify(Path(path), file, self._field)
            Path(path).rename(target)
        told(file.size or 0)

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:05d}"

    def _client(self) -> Any:
        if self._api is None:
            self._api = self._hub.api(self._source.repo)
        return self._api


def _from(told: Callable[[int, int], None], start: int, total: int) -> Callable[[int], None]:
    return lambda done: told(start + done, total)


def _telling(told: Callable[[int], None]) -> Any:
    """A progress bar for huggingface_hub that tells instead of drawing: the only way to look for a
    cancellation during a download."""
    from huggingface_hub.utils.tqdm import tqdm

    class Telling(tqdm):
        _told = 0

        def update(self, n: float | None = 1) -> bool | None:
            self._told += int(n or 0)
            told(self._told)
            shown: bool | None = super().update(n)
            return shown

    return Telling
