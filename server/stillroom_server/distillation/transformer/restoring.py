"""Another element type for a finished transformer student."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stillroom_registry.errors import FailedPrecondition
from stillroom_server.distillation.context import Context, Silent
from stillroom_server.distillation.export.parity import FIXED_TEXTS
from stillroom_server.distillation.stopwatch import Stopwatch
from stillroom_server.distillation.teacher import TeacherFiles
from stillroom_server.distillation.teacher_tokenizer import load_tokenizer
from stillroom_server.distillation.tuning.protocols import Json

if TYPE_CHECKING:
    from stillroom_server.distillation.transformer.network import StudentNetwork


def store_student(
    folder: Path,
    output: Path,
    element_type: str,
    context: Context | None = None,
    *,
    name: str = "",
    source_name: str = "",
    description: str = "",
    lineage: Mapping[str, Any] | None = None,
    texts: Sequence[str] = (),
    verify: bool = True,
    clock: Callable[[], float] = time.perf_counter,
) -> Json:
    """Stores the transformer student in ``folder`` as ``element_type`` in ``output``, with its
    graph, checked; returns the facts. ``texts`` are those that its loss is measured on, without any
    a few awkward ones.

    Reports the phases "load", "write" and "verify". Raises FailedPrecondition
    (UNSUPPORTED_STUDENT) for a student of another shape than ``folder.write_network`` gives, and
    what the parts raise.
    """
    from stillroom_server.distillation.transformer.exporting import export
    from stillroom_server.distillation.transformer.folder import (
        write_description,
        write_network,
        write_tokenizer,
    )
    from stillroom_server.distillation.transformer.storing import choose
    from stillroom_server.distillation.transformer.workers import Workers

    context = context or Silent()
    watch = Stopwatch(clock)
    with Workers(context.check_cancelled) as workers:
        with watch.phase("load"):
            context.progress("load", 0, 1, unit="student")
            files = TeacherFiles.read(folder)
            network = load_network(files)
            tokenizer = load_tokenizer(files.transformer.folder, files.transformer.config)
            context.progress("load", 1, 1, unit="student")
        with watch.phase("write"):
            context.progress("write", 0, 1, unit="student")
            measured = list(texts) or list(FIXED_TEXTS)
            stored = choose(network, tokenizer, measured, element_type, workers)
            write_network(output, stored.network, element_type)
            write_tokenizer(
                output,
                tokenizer.source,
                files.transformer.folder,
                tokenizer.max_tokens,
                files.prompts,
                files.default_prompt,
            )
            weights = list(output.rglob("*.safetensors"))
            facts: Json = {
                "architecture": "transformer",
                "element_type": element_type,
                "cosines": stored.cosines,
                "dimensions": network.dimensions,
                "parameters": sum(value.numel() for value in network.parameters()),
                "source_bytes": files.transformer.size,
                "student_bytes": sum(path.stat().st_size for path in weights),
            }
            context.progress("write", 1, 1, unit="student")
        if verify:
            with watch.phase("verify"):
                facts |= export(output, stored, tokenizer, measured, workers, context)
    facts["seconds"] = watch.seconds
    write_description(
        output,
        card={"title": name, "description": description, "base_model": source_name},
        facts={"Dimensions": network.dimensions, "Stored as": element_type},
        lineage={"source": source_name, "recipe": "quantize", **(lineage or {})},
        options={"element_type": element_type},
        metrics=facts,
        prompts=files.prompts,
    )
    return facts


def load_network(files: TeacherFiles) -> StudentNetwork:
    """The network of a student's folder. Raises FailedPrecondition (UNSUPPORTED_STUDENT)."""
    import torch
    from safetensors.torch import load_file

    from stillroom_server.distillation.teacher_files import SAFETENSORS
    from stillroom_server.distillation.transformer.backbone import load_model
    from stillroom_server.distillation.transformer.network import StudentNetwork

    after = list(files.modules.after)
    dense = None
    if after and after[0].kind == "Dense":
        module = after.pop(0)
        weights = load_file(module.folder / SAFETENSORS)
        identity = str(module.config.get("activation_function", "")).endswith(".Identity")
        if set(weights) != {"linear.weight"} or not identity:
            raise _unsupported("its Dense is not a plain linear map")
        weight = weights["linear.weight"].float()
        dense = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False)
        dense.weight = torch.nn.Parameter(weight)
    kinds = [module.kind for module in after]
    if kinds not in ([], ["Normalize"]):
        raise _unsupported(f"it has the modules {', '.join(kinds)} behind its pooling")
    backbone = load_model(files.transformer)
    if getattr(backbone, "pooler", None) is not None:
        backbone.pooler = None  # made of nothing by the loader, as the student has none
    return StudentNetwork(backbone, files.modules.pooling, dense, kinds == ["Normalize"]).eval()


def _unsupported(why: str) -> FailedPrecondition:
    return FailedPrecondition(
        f"the student cannot be stored again: {why}",
        reason="UNSUPPORTED_STUDENT",
        field="teacher",
    )
