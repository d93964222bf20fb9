"""Which engine serves a student: onnxruntime, or gather where it is equal to it and faster."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from stillroom_registry.errors import DataLoss, FailedPrecondition, InvalidArgument
from stillroom_server.inference.engines.base import Scale, StudentEngine
from stillroom_server.inference.engines.gather import GatherEngine
from stillroom_server.inference.engines.onnx import GraphError, OnnxRuntimeEngine
from stillroom_server.inference.engines.parity import Parity, compare, time_batch
from stillroom_server.inference.student_files import StudentFiles
from stillroom_server.inference.verdicts import MemoryVerdicts, Verdicts, versions

ONNX_FILE = "onnx/model.onnx"
ENGINES = ("auto", "onnxruntime", "gather")
_CHECK_REVISION = 1

_this_process = MemoryVerdicts()


@dataclass(frozen=True, slots=True)
class ChosenEngine:
    """The engine that serves and, for people, why.

    ``unnormalized`` answers requests that want vectors as they are before normalization; None when
    nothing proven can.
    """

    engine: StudentEngine
    reason: str
    unnormalized: StudentEngine | None

    @property
    def nbytes(self) -> int:
        engines = {id(one): one.nbytes for one in (self.engine, self.unnormalized) if one}
        return sum(engines.values())


def choose_engine(
    files: StudentFiles,
    name: str = "auto",
    *,
    verdicts: Verdicts = _this_process,
    digests: Mapping[str, str] | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> ChosenEngine:
    """Load the engine ``name`` for a student, or with "auto" the better one.

    "auto": without an ONNX file gather; else both are compared and timed once (about 0.3 s), and
    the verdict is kept by the digests of the files, so that later loads need no onnxruntime.
    ``digests`` gives those of "model.safetensors" and "onnx/model.onnx" when they are known.
    Raises InvalidArgument for an unknown name, FailedPrecondition for onnxruntime without a file,
    DataLoss for onnxruntime with a file that does not load.
    """
    if name not in ENGINES:
        raise InvalidArgument(
            f"Unknown student engine {name!r}; choose {', '.join(ENGINES)}.",
            reason="UNKNOWN_STUDENT_ENGINE",
            field="student_engine",
        )
    gather = GatherEngine(files.effective_table())
    file = files.folder / ONNX_FILE
    if name == "gather":
        return ChosenEngine(gather, "asked for", gather)
    if not file.is_file():
        if name == "onnxruntime":
            raise FailedPrecondition(
                f"This student has no {ONNX_FILE}; serve it with the engine gather or auto.",
                reason="ONNX_FILE_MISSING",
            )
        return ChosenEngine(gather, f"there is no {ONNX_FILE}", gather)
    if name == "onnxruntime":
        return _of_record(files, gather, file)
    key = _key(files, file, digests or {})
    known = _this_process.get(key) or verdicts.get(key)
    if known is not None and known.get("engine") == "gather" and "reason" in known:
        return ChosenEngine(gather, known["reason"], gather)
    chosen = _better(files, gather, file, clock)
    for store in (_this_process, verdicts):
        store.put(key, {"engine": chosen.engine.name, "reason": chosen.reason})
    return chosen


def _of_record(files: StudentFiles, gather: GatherEngine, file: Path) -> ChosenEngine:
    try:
        onnx, parity = _compared(files, gather, file)
    except GraphError as failure:
        raise DataLoss(
            f"{ONNX_FILE}: {failure}.", reason="ONNX_FILE_INVALID", metadata={"file": ONNX_FILE}
        ) from failure
    return _serving_onnx(onnx, gather, parity, "asked for")


def _better(
    files: StudentFiles, gather: GatherEngine, file: Path, clock: Callable[[], float]
) -> ChosenEngine:
    try:
        onnx, parity = _compared(files, gather, file)
    except GraphError as failure:
        return ChosenEngine(gather, f"{ONNX_FILE} is of no use: {failure}", gather)
    if not parity.equal:
        return _serving_onnx(onnx, gather, parity, f"gather is not equal: {parity}")
    size = files.vocabulary_size
    ratio = time_batch(onnx, size, clock) / time_batch(gather, size, clock)
    if ratio < 1:
        return _serving_onnx(onnx, gather, parity, f"gather is equal but {1 / ratio:.1f}x as slow")
    return ChosenEngine(gather, f"{parity}; {ratio:.1f}x as fast as onnxruntime", gather)


def _compared(
    files: StudentFiles, gather: GatherEngine, file: Path
) -> tuple[OnnxRuntimeEngine, Parity]:
    scale = Scale.UNIT if files.normalize else Scale.MEAN
    onnx = OnnxRuntimeEngine(file, scale, gather.dimensions)
    try:
        parity = compare(onnx, gather, files.vocabulary_size, files.unk_id)
    except Exception as failure:  # whatever a graph may raise when it runs
        raise GraphError(f"it does not run: {failure}") from failure
    return onnx, parity


def _serving_onnx(
    onnx: OnnxRuntimeEngine, gather: GatherEngine, parity: Parity, reason: str
) -> ChosenEngine:
    if onnx.scale is not Scale.UNIT:
        return ChosenEngine(onnx, reason, onnx)
    return ChosenEngine(onnx, reason, gather if parity.equal else None)


def _key(files: StudentFiles, file: Path, digests: Mapping[str, str]) -> str:
    parts = [
        digests.get(name) or _digest(path)
        for name, path in (
            (ONNX_FILE, file),
            ("model.safetensors", files.folder / "model.safetensors"),
        )
    ]
    libraries = versions("onnxruntime", "scipy", "numpy")
    return f"engine {_CHECK_REVISION} {libraries} unk={files.unk_id} {' '.join(parts)}"


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return "sha256:" + hashlib.file_digest(stream, "sha256").hexdigest()
