"""Copies to servers that only import what they are sent, which they write anew in part."""

from __future__ import annotations

from stillroom.copies import Copied
from stillroom.v1 import model_pb2
from stillroom.v1 import model_service_pb2 as pb

# An import may write these anew; what else a model is made of ends on those.
_REWRITTEN = ("stillroom.json", ".onnx")
_MODEL_FILES = (".safetensors", ".json")


def is_copy(version: model_pb2.ModelVersion, source: model_pb2.ModelVersion) -> bool:
    """Whether it has the model of ``source``: all that is computed with, and the same bytes in all
    that it has, but for what an import may write anew."""
    theirs, ours = (
        {file.path: file.digest for file in v.files if not file.path.endswith(_REWRITTEN)}
        for v in (version, source)
    )
    needed = {path for path in ours if path.endswith(_MODEL_FILES)}
    return needed <= theirs.keys() and theirs.items() <= ours.items()


def compared(
    source: model_pb2.ModelVersion, answer: pb.ImportModelResponse, *, anew: bool
) -> Copied:
    """What became of it."""
    before = {file.path: file.digest for file in source.files}
    changed = sorted(
        file.path
        for file in answer.model_version.files
        if before.get(file.path) not in (None, file.digest)
    )
    there = {file.path for file in answer.model_version.files}  # some are made anew
    skipped = tuple(
        (file.path, file.reason) for file in answer.skipped_files if file.path not in there
    )
    return Copied(source, answer.model_version, False, skipped, tuple(changed), anew)
