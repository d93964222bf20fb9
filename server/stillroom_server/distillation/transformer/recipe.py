"""The recipe: cut, fit, train, store, write, export, verify."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stillroom_registry.errors import InvalidArgument
from stillroom_server.distillation.pooling import POOLING_MODES
from stillroom_server.distillation.context import Context, Silent
from stillroom_server.distillation.stopwatch import Stopwatch
from stillroom_server.distillation.teacher import TeacherFiles
from stillroom_server.distillation.teacher_tokenizer import TeacherTokenizer, load_tokenizer
from stillroom_server.distillation.transformer.options import DEFAULT_EPOCHS, TransformerOptions
from stillroom_server.distillation.transformer.shape import Shape, check_dimensions, shape_of
from stillroom_server.distillation.tuning.protocols import Checkpoints, Corpus, Features, Json

if TYPE_CHECKING:
    from torch import Tensor

    from stillroom_server.distillation.transformer.network import StudentNetwork
    from stillroom_server.distillation.transformer.storing import Stored
    from stillroom_server.distillation.transformer.workers import Workers

PHASES = ("prepare", "train", "write", "verify")
# Longer texts are cut in training: attention to the end of a long text is learned from its start.
TRAINING_TOKENS = 128


@dataclass(frozen=True)
class _Given:
    """What a distillation is given, checked against each other."""

    files: TeacherFiles
    shape: Shape
    tokenizer: TeacherTokenizer
    max_tokens: int | None
    dimensions: int
    prompt: str
    options: TransformerOptions


@dataclass(frozen=True)
class _Run:
    """What every step of a distillation needs."""

    given: _Given
    corpus: Corpus
    features: Features
    context: Context
    workers: Workers


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
    from stillroom_server.distillation.transformer.storing import choose
    from stillroom_server.distillation.transformer.workers import Workers, allowed_threads

    context = context or Silent()
    watch = Stopwatch(clock)
    given = _check(teacher_folder, corpus, features, options or TransformerOptions(), prompt_name)
    with Workers(context.check_cancelled, threads or allowed_threads) as workers:
        run = _Run(given, corpus, features, context, workers)
        with watch.phase("prepare"):
            network, teacher, axes = _start(run)
        with watch.phase("train"):
            facts = _train(run, network, teacher, axes, checkpoints, clock)
        del teacher
        with watch.phase("write"):
            context.progress("write", 0, 1, unit="student")
            texts = _held_out_texts(run)
            stored = choose(network, _cut(given), texts, given.options.element_type, workers)
            facts |= {"element_type": stored.element_type, "cosines": stored.cosines}
            _write(output_folder, given, stored)
            facts["student_bytes"] = sum(
                path.stat().st_size for path in output_folder.rglob("*.safetensors")
            )
            context.progress("write", 1, 1, unit="student")
        if verify:
            with watch.phase("verify"):
                facts |= _export(run, output_folder, stored, texts)
    facts["seconds"] = watch.seconds
    _describe(
        output_folder,
        given,
        facts,
        card={"title": name, "description": description, "base_model": teacher_name},
        lineage={"teacher": teacher_name, "recipe": "transformer", **(lineage or {})},
    )
    return facts


def _check(
    teacher_folder: Path,
    corpus: Corpus,
    features: Features,
    options: TransformerOptions,
    prompt_name: str | None,
) -> _Given:
    files = TeacherFiles.read(teacher_folder)
    shape = shape_of(files.transformer.config, options)
    tokenizer = load_tokenizer(files.transformer.folder, files.transformer.config)
    most = tokenizer.max_tokens
    asked = options.max_tokens
    if asked is not None and most is not None and asked > most:
        raise InvalidArgument(
            f"max_tokens: {asked} is more than the teacher reads, {most}",
            field="transformer.max_tokens",
        )
    if not sum(shard.count for shard in corpus.training):
        raise InvalidArgument(
            "the corpus has no text to learn from; give it more texts",
            reason="CORPUS_TOO_SMALL",
            field="corpus",
        )
    return _Given(
        files=files,
        shape=shape,
        tokenizer=tokenizer,
        max_tokens=most if asked is None else asked,
        dimensions=check_dimensions(options, features.dim),
        prompt=files.prompt(prompt_name),
        options=options,
    )


def _start(run: _Run) -> tuple[StudentNetwork, Any, Tensor | None]:
    """The network that training begins with, the transformer whose layers it learns from, and the
    axes that its targets are reduced to."""
    import torch

    from stillroom_server.distillation.transformer import start
    from stillroom_server.distillation.transformer.backbone import build_backbone, load_model
    from stillroom_server.distillation.transformer.network import StudentNetwork

    given, features = run.given, run.features
    run.context.progress("prepare", 0, 0, unit="student")
    run.context.check_cancelled()
    modules = given.files.modules
    modes = [mode for mode in POOLING_MODES if mode in modules.pooling]
    teacher = load_model(given.files.transformer)
    backbone = build_backbone(teacher, given.shape)
    plain = all(module.kind == "Normalize" for module in modules.after)
    dense = None
    if given.shape.narrowed or given.dimensions < features.dim or not plain:
        dense = torch.nn.Linear(given.shape.width * len(modes), given.dimensions, bias=False)
    normalized = bool(modules.after) and modules.after[-1].kind == "Normalize"
    network = StudentNetwork(backbone, modes, dense, normalized).eval()
    axes = None
    if given.dimensions < features.dim:
        axes = run.workers.alone(
            partial(start.principal_axes, run.corpus, features, given.dimensions)
        )
    if given.shape.narrowed:  # states of another width compare with nothing
        teacher = None
    if dense is not None:
        source = backbone if teacher is None else teacher
        weight = _fitted(run, source, modes, axes)
        with torch.no_grad():
            dense.weight.copy_(weight)
    run.context.progress("prepare", 1, 1, unit="student")
    return network, teacher, axes


def _fitted(run: _Run, source: Any, modes: Sequence[str], axes: Tensor | None) -> Tensor:
    """The linear map from what ``source`` gives, pooled, to the targets. The student learns to
    give what its teacher gives, so of one as wide the teacher is the source."""
    import torch

    from stillroom_server.distillation.transformer import start
    from stillroom_server.distillation.transformer.batches import padded, tokenize
    from stillroom_server.distillation.transformer.network import pooled

    tokenizer = _cut(run.given)
    rows: list[list[int]] = []
    targets: list[Tensor] = []
    for index, shard in enumerate(run.corpus.training):
        if len(rows) < start.FIT_TEXTS:
            rows += tokenize(shard, tokenizer, run.given.prompt)
            targets.append(start.reduced(run.features.training(index), axes))

    def pooled_piece(piece: list[int]) -> Tensor:
        ids, mask = map(torch.from_numpy, padded([rows[at] for at in piece]))
        with torch.no_grad():
            hidden = source(input_ids=ids, attention_mask=mask).last_hidden_state
            return pooled(hidden, mask, modes)

    order = sorted(range(min(len(rows), start.FIT_TEXTS)), key=lambda at: (len(rows[at]), at))
    pieces = [order[at : at + 32] for at in range(0, len(order), 32)]
    found = []
    for at in range(0, len(pieces), 2):
        found += run.workers.run([partial(pooled_piece, piece) for piece in pieces[at : at + 2]])
        run.context.progress("prepare", at, len(pieces), unit="batches")
    return run.workers.alone(partial(start.fit_linear, torch.cat(found), torch.cat(targets)[order]))


def _train(
    run: _Run,
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
        _cut(given),
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


def _held_out_texts(run: _Run) -> list[str]:
    from stillroom_server.distillation.transformer.storing import TEXTS

    corpus = run.corpus
    shards = corpus.held_out if any(s.count for s in corpus.held_out) else corpus.training
    texts = (text for shard in shards for text in shard.texts())
    return [run.given.prompt + text for text in islice(texts, TEXTS)]


def _write(folder: Path, given: _Given, stored: Stored) -> None:
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


def _export(run: _Run, folder: Path, stored: Stored, texts: list[str]) -> Json:
    from stillroom_server.distillation.export.onnx_graph import ONNX_FILE
    from stillroom_server.distillation.transformer import onnx_export, parity
    from stillroom_server.distillation.transformer.onnx_storing import store

    def tell(done: int) -> None:
        run.context.progress("verify", done, parity.RUNS, unit="runs")
        run.context.check_cancelled()

    tell(0)
    given = run.given
    model = store(onnx_export.build(stored.network), stored.element_type)
    onnx_export.write(model, folder / ONNX_FILE)
    report = parity.check(
        folder,
        stored.network,
        TeacherTokenizer(given.tokenizer.source, given.max_tokens),
        texts[: parity.TEXTS],
        workers=run.workers,
        seed=given.options.seed,
        on_run=tell,
    )
    return {
        "onnx_parity": report.as_dict(),
        "onnx_bytes": sum(path.stat().st_size for path in (folder / "onnx").iterdir()),
    }


def _describe(
    folder: Path, given: _Given, facts: Json, *, card: Json, lineage: Mapping[str, Any]
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


def _cut(given: _Given) -> TeacherTokenizer:
    """The tokenizer as training uses it."""
    limits = [TRAINING_TOKENS, given.max_tokens or TRAINING_TOKENS]
    return TeacherTokenizer(given.tokenizer.source, min(limits))
