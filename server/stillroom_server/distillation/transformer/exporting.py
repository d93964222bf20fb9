"""The graph of a stored student, written and checked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stillroom_server.distillation.context import Context
from stillroom_server.distillation.export.onnx_graph import ONNX_FILE
from stillroom_server.distillation.teacher_tokenizer import TeacherTokenizer
from stillroom_server.distillation.transformer import onnx_export, parity
from stillroom_server.distillation.transformer.onnx_storing import store
from stillroom_server.distillation.transformer.storing import Stored
from stillroom_server.distillation.transformer.workers import Workers
from stillroom_server.distillation.tuning.protocols import Json

PARITY_SEED = 0  # whatever the student's: of the strangers under the masks


def export(
    folder: Path,
    stored: Stored,
    tokenizer: TeacherTokenizer,
    texts: Sequence[str],
    workers: Workers,
    context: Context,
) -> Json:
    """Writes onnx/model.onnx; gives ``onnx_parity`` and ``onnx_bytes``. Reports the phase "verify".
    Raises FailedPrecondition (PARITY_FAILED)."""

    def tell(done: int) -> None:
        context.progress("verify", done, parity.RUNS, unit="runs")
        context.check_cancelled()

    tell(0)
    model = store(onnx_export.build(stored.network), stored.element_type)
    onnx_export.write(model, folder / ONNX_FILE)
    report = parity.check(
        folder,
        stored.network,
        tokenizer,
        texts[: parity.TEXTS],
        workers=workers,
        seed=PARITY_SEED,
        on_run=tell,
    )
    return {
        "onnx_parity": report.as_dict(),
        "onnx_bytes": sum(path.stat().st_size for path in (folder / "onnx").iterdir()),
    }
