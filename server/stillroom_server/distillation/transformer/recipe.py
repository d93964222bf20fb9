"""The recipe: cut, fit, train, store, write, export, verify."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stillroom_server.distillation.context import Context, Silent
from stillroom_server.distillation.stopwatch import Stopwatch
from stillroom_server.distillation.teacher_tokenizer import TeacherTokenizer
from stillroom_server.distillation.transformer.given import Given, Run, check, cut
from stillroom_server.distillation.transformer.options import DEFAULT_EPOCHS, TransformerOptions
from stillroom_server.distillation.tuning.protocols import Checkpoints, Corpus, Features, Json

if TYPE_CHECKING:
    from torch import Tensor

    from stillroom_server.distillation.transformer.network import StudentNetwork
    from stillroom_server.distillation.transformer.storing import Stored

PHASES = ("prepare", "train", "write", "verify")


def distill_transformer(
    teacher_folder: Path,
    output_folder: Path,
    corpus: Corpus,
    features: Features,
    checkpoints: Checkpoints,
    options: TransformerOptions | None = None,
    context: Context | None = None,
    *,
    name: str = "",
    teacher_name: str = "",
    description: str = "",
    lineage: Mapping[str, Any] | None = None,
    prompt_name: str | None = None,
    threads: Callable[[], int] | None = None,
    verify: bool = True,
    clock: Callable[[], float] = time.monotonic,
) -> Json:
    """Distills the teacher in ``teacher_folder`` to a shallow transformer in ``output_folder``.

    ``features`` are the teacher's vectors of ``corpus``, made with the prompt ``prompt_name``.
    ``threads`` says before each step on how many cores (at most two are used) to compute, None:
    what torch may use in the calling thread at the time. The result does not depend on it, nor on
    being killed and started again with the same ``checkpoints``; with a time budget, which is up
    to the clock, it does.

    Returns the facts: ``layers`` kept, ``parameters``, ``epochs``, ``steps``, ``history``,
    ``element_type`` with the ``cosines`` it was chosen by, ``tokens_per_second``,
    ``onnx_parity``, ``seconds`` by phase... Raises InvalidArgument (fields under ``transformer``,
    ``corpus``), FailedPrecondition (TRAINING_DIVERGED, PARITY_FAILED, UNSUPPORTED_ARCHITECTURE),
    DataLoss; what ``context`` and ``checkpoints`` raise passes through.
    """
    from stillroom_server.distillation.transformer.beginning import begin
    from stillroom_server.distillation.transformer.exporting import export
    from stillroom_server.distillation.transformer.storing import choose
    from stillroom_server.distillation.transformer.workers import Workers, allowed_threads

    context = context or Silent()
    watch = Stopwatch(clock)
    given = check(teacher_folder, corpus, features, options or TransformerOptions(), prompt_name)
    with Workers(context.check_cancelled, threads or allowed_threads) as workers:
        run = Run(given, corpus, features, context, workers)
        with watch.phase("prepare"):
            network, teacher, axes = begin(run)
        with watch.phase("train"):
            facts = _train(run, network, teacher, axes, checkpoints, clock)
        del teacher
        with watch.phase("write"):
            context.progress("write", 0, 1, unit="student")
            texts = _held_out_texts(run)
            stored = choose(network, cut(given), texts, given.options.element_type, workers)
            facts |= {"element_type": stored.element_type, "cosines": stored.cosines}
            _write(output_folder, given, stored)
            facts["student_bytes"] = sum(
                path.stat().st_size for path in output_folder.rglob("*.safetensors")
            )
            context.progress("write", 1, 1, unit="student")
        if verify:
            with watch.phase("verify"):
                tokenizer = TeacherTokenizer(given.tokenizer.source, given.max_tokens)
                facts |= export(output_folder, stored, tokenizer, texts, run.workers, context)
    facts["seconds"] = watch.seconds
    _describe(
        output_folder,
        given,
        facts,
        card={"title": name, "description": description, "base_model": teacher_name},
        lineage={"teacher": teacher_name, "recipe": "transformer", **(lineage or {})},
    )
    return facts


def _train(
    run: Run,
    network: StudentNetwork,
    teacher: Any,
    axes: Tensor | None,
    checkpoints: Checkpoints,
    clock: Callable[[], float],
) -> Json:
    from stillroom_server.distillation.transformer.training import Limits, Training

    given, corpus, features = run.given, run.corpus, run.features
    options = given.options
    limits = Limits(options.max_epochs or DEFAULT_EPOCHS, options.time_budget_seconds, options.seed)
    training = Training(
        network,
        corpus,
        features,
        cut(given),
        given.prompt,
        axes,
        teacher,
        limits,
        checkpoints,
        run.context,
        run.workers,
        {"corpus": corpus.digest, "options": options.to_json(), "prompt": given.prompt},
        clock,
    )
    state = training.run()
    return {
        "architecture": "transformer",
        "layers": list(given.shape.layers),
        "teacher_layers": given.shape.teacher_layers,
        "hidden_size": given.shape.width,
        "dimensions": given.dimensions,
        "teacher_dimensions": features.dim,
        "teacher_bytes": given.files.transformer.size,
        "pooling": list(network.pooling),
        "parameters": sum(value.numel() for value in network.parameters()),
        "trained_parameters": training.trained_parameters,
        "epochs": state.epoch,
        "steps": state.step,
        "stopped": state.stopped,
        "best_step": state.best_step,
        "held_out_cosine": round(state.best, 6),
        "history": state.history,
        "tokens": state.tokens,
        "tokens_per_second": round(state.tokens / state.seconds, 1) if state.seconds else None,
    }


def _held_out_texts(run: Run) -> list[str]:
    from stillroom_server.distillation.transformer.storing import TEXTS

    corpus = run.corpus
    shards = corpus.held_out if any(s.count for s in corpus.held_out) else corpus.training
    texts = (text for shard in shards for text in shard.texts())
    return [run.given.prompt + text for text in islice(texts, TEXTS)]


def _write(folder: Path, given: Given, stored: Stored) -> None:
    from stillroom_server.distillation.transformer.folder import write_network, write_tokenizer

    write_network(folder, stored.network, stored.element_type)
    write_tokenizer(
        folder,
        given.tokenizer.source,
        given.files.transformer.folder,
        given.max_tokens,
        given.files.prompts,
        given.files.default_prompt,
    )


def _describe(
    folder: Path, given: Given, facts: Json, *, card: Json, lineage: Mapping[str, Any]
) -> None:
    from stillroom_server.distillation.transformer.folder import write_description

    write_description(
        folder,
        card=card,
        facts={
            "Architecture": str(given.files.transformer.model_type),
            "Layers": f"{len(given.shape.layers)} of the teacher's {given.shape.teacher_layers}",
            "Dimensions": given.dimensions,
            "Parameters": f"{facts['parameters'] / 1e6:.1f} million",
            "Stored as": facts["element_type"],
            "Longest text": f"{given.max_tokens} tokens" if given.max_tokens else "unlimited",
        },
        lineage=lineage,
        options=given.options.to_json(),
        metrics=facts,
        prompts=given.files.prompts,
    )
