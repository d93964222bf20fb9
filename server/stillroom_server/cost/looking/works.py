"""From what operations are asked for, as they are queued, to work that can be estimated."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from stillroom_registry.errors import StillroomError
from stillroom_registry.names import ModelRef
from stillroom_registry.registry import Registry
from stillroom_registry.values import ModelKind, ModelVersion
from stillroom_server.cost.facts import ModelFacts, of_folder, of_version
from stillroom_server.cost.looking.data import NOTHING, Described
from stillroom_server.cost.looking.looking import Looking
from stillroom_server.cost.workloads import DistillWork, ImportWork, TrainWork, TransferWork, Work

Json: TypeAlias = Mapping[str, Any]

_MOST_FILES = 100_000  # of a folder that is looked at
_MULTI_LABEL = "CLASSIFICATION_TASK_MULTI_LABEL"

_log = logging.getLogger(__name__)


class Works:
    """Looks up the models that operations name, and looks at their data. For any thread."""

    def __init__(self, registry: Registry, looking: Looking) -> None:
        self._registry = registry
        self._looking = looking
        self._by_kind: Mapping[str, Callable[[Json, Described], Work]] = {
            "distill": self._distill,
            "train_classifier": self._train,
            "import": self._import,
            "push": self._push,
            "pull": self._pull,
        }

    def of(self, kind: str, body: Json, described: Described = NOTHING) -> Work | None:
        """The work of an operation of this ``kind`` with this ``body``; ``described`` stands in
        place of a look at its data. None: work of this kind is not estimated.

        Raises NotFound for a model that is not registered, DataLoss for a damaged one,
        FailedPrecondition for one that states no sizes.
        """
        read = self._by_kind.get(kind)
        return None if read is None else read(body, described)

    def model(self, reference: str, field: str) -> tuple[ModelVersion, ModelFacts]:
        """A registered version and its facts. Raises as ``of``, on ``field``."""
        try:
            version = self._registry.resolve(ModelRef.parse(reference))
            return version, of_version(self._registry, version)
        except StillroomError as error:
            error.field = field
            raise

    def _distill(self, body: Json, described: Described) -> DistillWork:
        corpus = body.get("corpus")
        if "teacher" in body:
            version, facts = self.model(str(body["teacher"]), "teacher")
            return DistillWork(body, facts, self._looking.corpus(corpus, version, described))
        given = body["teacher_import"]
        imported = self._source(given["source"], ModelKind.TEACHER, str(given["name"]))
        data = self._looking.corpus(corpus, None, described)
        return DistillWork(body, imported.model, data, imported)

    def _train(self, body: Json, described: Described) -> TrainWork:
        version, facts = self.model(str(body["encoder"]), "encoder")
        # A classifier's teacher has a tokenizer; so have all that may be encoders.
        multi_label = (body.get("options") or {}).get("task") == _MULTI_LABEL
        data = self._looking.examples(body.get("data"), version, described, multi_label=multi_label)
        own = body.get("validation_data")
        validation = None
        if own is not None:
            validation = self._looking.examples(own, version, NOTHING, multi_label=multi_label)
        return TrainWork(body, facts, data, validation)

    def _import(self, body: Json, described: Described) -> ImportWork:
        kind = body.get("kind")
        known = ModelKind(kind) if kind else None
        found = self._source(body["source"], known, str(body.get("name") or ""))
        if not described.total_bytes:
            return found
        return ImportWork(found.origin, described.total_bytes, found.files, found.model, found.name)

    def _push(self, body: Json, _: Described) -> TransferWork:
        version, facts = self.model(str(body["model_version"]), "name")
        repo = str(body.get("repo") or "")
        return TransferWork("push", version.size, len(version.files), facts, repo)

    def _pull(self, body: Json, described: Described) -> TransferWork:
        repo = str(body.get("repo") or "")
        return TransferWork("pull", described.total_bytes or None, repo=repo)

    def _source(self, source: Json, kind: ModelKind | None, name: str) -> ImportWork:
        if "path" in source:
            folder = Path(str(source["path"]))
            size, files = _size(folder)
            return ImportWork("path", size, files, _facts(folder, kind), name)
        if "upload" in source:
            return ImportWork("upload", _file_size(Path(str(source["file"]))), None, None, name)
        return ImportWork("hub", name=name)


def _facts(folder: Path, kind: ModelKind | None) -> ModelFacts | None:
    """None: it cannot be told what is in there. Why is told by who imports it."""
    if kind is None:
        return None
    try:
        return of_folder(folder, kind)
    except (StillroomError, OSError) as error:
        _log.info("cannot look at the model of an estimate: %s", error)
        return None


def _size(folder: Path) -> tuple[int | None, int | None]:
    """Bytes and files below ``folder``; None where it cannot be looked at, or there are too
    many."""
    size = files = 0
    try:
        for place, _, names in os.walk(folder):
            files += len(names)
            if files > _MOST_FILES:
                return None, None
            size += sum((Path(place) / name).lstat().st_size for name in names)
    except OSError:
        return None, None
    return size, files


def _file_size(file: Path) -> int | None:
    try:
        return file.stat().st_size
    except OSError:
        return None
