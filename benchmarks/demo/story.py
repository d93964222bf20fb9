"""The steps of the demo. Each shows what it found and checks it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TypeVar

import numpy as np
from google.protobuf.message import Message
from numpy.typing import NDArray
from rich.console import Console

from benchmarks.demo import measure, neighbors, show
from benchmarks.demo.measure import TeacherSide
from benchmarks.demo.settings import DIMENSIONS, PACKAGE, STUDENT, TEACHER, check
from benchmarks.demo.show import megabytes, times
from benchmarks.demo.texts import QUERIES, TEXTS
from benchmarks.serving import serving
from stillroom import Client, Operation
from stillroom.v1.distillation_service_pb2 import DistillResponse
from stillroom.v1.model_pb2 import ModelVersion

M = TypeVar("M", bound=Message)
STEPS = 6
_LEAST_PARITY = 0.99999


def tell(out: Console, workspace: Path) -> None:
    """Runs the whole demo in ``workspace``. Raises DemoFailedError, ServerFailedError, or the
    client's StillroomError."""
    show.heading(out, 1, STEPS, "Start a server")
    with serving(workspace / "data", workspace / "server.log") as server:
        show.fact(out, f"stillroom serve: listening on {server.address}, process {server.pid}")
        with Client(server.address) as client:
            _with(out, client, workspace)
    show.fact(out, "server stopped")


def _with(out: Console, client: Client, workspace: Path) -> None:
    show.heading(out, 2, STEPS, f"Import the teacher from the installed package {PACKAGE}")
    teacher = _import(out, client)
    show.heading(out, 3, STEPS, f"Distill it to a static student of {DIMENSIONS} dimensions")
    distilled = _distill(out, client)
    show.heading(out, 4, STEPS, "What the registry holds")
    _registry(out, client)
    show.heading(
        out, 5, STEPS, f"Embed {len(TEXTS)} texts, find neighbors of {len(QUERIES)} others"
    )
    texts, queries = _embed(out, client)
    side = measure.teacher(workspace)
    _neighbors(out, texts, queries, side)
    show.heading(out, 6, STEPS, "The student beside its teacher")
    _compare(out, teacher, distilled, side, measure.stream_rate(client))


def _import(out: Console, client: Client) -> ModelVersion:
    with show.progress(out) as bar:
        operation = client.import_model(
            TEACHER,
            package=PACKAGE,
            progress=lambda done, total: bar(
                "upload", done / total if total else 0.0, megabytes(done)
            ),
        )
    version = _follow(out, operation).model_version
    show.fact(out, f"{version.name}: {len(version.files)} files, {megabytes(version.total_bytes)}")
    return version


def _distill(out: Console, client: Client) -> DistillResponse:
    started = time.perf_counter()
    operation = client.distill(TEACHER, STUDENT, dimensions=DIMENSIONS)
    response = _follow(out, operation)
    report = response.report
    show.fact(
        out,
        f"{response.model_version.name} in {time.perf_counter() - started:.1f} s:"
        f" {report.vocabulary_size:,} rows of {report.dimensions},"
        f" {report.explained_variance:.1%} of the variance kept",
    )
    longest = sorted(report.seconds.items(), key=lambda phase: -phase[1])
    phases = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in longest)
    show.fact(out, f"where the time went: {phases}")
    exported = {file.path: file for file in response.model_version.files}.get("onnx/model.onnx")
    parity = report.onnx_parity
    check(exported is not None, "the student has no onnx/model.onnx")
    check(parity.min_cosine >= _LEAST_PARITY, f"ONNX parity is only {parity.min_cosine}")
    assert exported is not None
    show.fact(
        out,
        f"onnx/model.onnx ({megabytes(exported.size_bytes)}) is exported, and verified in float64:",
    )
    show.fact(
        out,
        f"{parity.texts:,} texts, {parity.runs:,} runs, least cosine {parity.min_cosine:.7f},"
        f" largest error {parity.max_abs_error:.1e}",
    )
    return response


def _follow(out: Console, operation: Operation[M]) -> M:
    with show.progress(out) as bar:
        for snapshot in operation.watch():
            show.operation(snapshot, bar)
    return operation.result()


def _registry(out: Console, client: Client) -> None:
    rows = []
    for model in client.list_models():
        version = client.get_version(f"{model.name}/versions/{model.latest_version}")
        parents = ", ".join(version.parents) or "-"
        digest = version.digest.removeprefix("sha256:")[:12]
        rows.append(
            [
                version.name,
                parents,
                str(len(version.files)),
                megabytes(version.total_bytes),
                digest,
            ]
        )
    show.table(out, ["version", "made from", "files", "size", "sha256"], rows, numbers=(2, 3))


def _embed(out: Console, client: Client) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The vectors of the texts, by unary and by stream, and of the queries."""
    unary = client.embed(TEXTS, model=STUDENT)
    batches = list(client.embed_stream(TEXTS, model=STUDENT, batch_size=8))
    streamed = np.concatenate([batch.vectors for batch in batches])
    check(unary.shape == (len(TEXTS), DIMENSIONS), f"the vectors have the shape {unary.shape}")
    lengths = np.linalg.norm(unary, axis=1)
    check(bool(np.allclose(lengths, 1.0, atol=1e-4)), "the vectors have no unit length")
    difference = float(np.abs(unary - streamed).max())
    check(difference < 1e-6, f"unary and stream differ by {difference}")
    show.fact(
        out,
        f"Embed: {unary.shape[0]} x {unary.shape[1]} {unary.dtype} in one answer;"
        f" EmbedStream: the same in {len(batches)} messages, largest difference {difference:.0e}",
    )
    return unary, client.embed(QUERIES, model=STUDENT)


def _neighbors(
    out: Console, texts: NDArray[np.float32], queries: NDArray[np.float32], side: TeacherSide
) -> None:
    ours = neighbors.nearest(queries, texts, 2)
    theirs = neighbors.nearest(side.queries, side.texts, len(TEXTS))
    rows = []
    for query, found, by_teacher in zip(QUERIES, ours, theirs, strict=True):
        rows.append([query, "", ""])
        for one in found:
            rank = str(neighbors.rank(by_teacher, one.place))
            rows.append([TEXTS[one.place], f"{one.cosine:.2f}", rank])
    columns = ["query, and the two texts nearest to it", "cosine", "teacher's rank"]
    show.table(out, columns, rows, numbers=(1, 2), section=3)
    agreed = neighbors.agreement(ours, theirs)
    show.fact(out, f"student and teacher agree on the nearest text of {agreed} of {len(QUERIES)}")


def _compare(
    out: Console, teacher: ModelVersion, distilled: DistillResponse, side: TeacherSide, rate: float
) -> None:
    report, student = distilled.report, distilled.model_version
    smaller = times(report.teacher_bytes, report.student_bytes)
    rows = [
        ["dimensions", str(side.texts.shape[1]), str(report.dimensions), ""],
        [
            "weights",
            megabytes(report.teacher_bytes),
            megabytes(report.student_bytes),
            f"{smaller} smaller",
        ],
        ["all files", megabytes(teacher.total_bytes), megabytes(student.total_bytes), ""],
        [
            "texts a second",
            f"{side.rate:,.0f}",
            f"{rate:,.0f}",
            f"{times(rate, side.rate)} faster",
        ],
    ]
    show.table(out, ["", "teacher", "student", ""], rows, numbers=(1, 2, 3))
    show.fact(out, "student: through the server, EmbedStream, 256 texts a message, loopback")
    show.fact(out, f"teacher: in a process of its own, without a server, {side.compute_type}")
