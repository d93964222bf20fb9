"""Makes an imported classifier servable: our files beside its own, an ONNX graph that is proven."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from stillroom_registry.errors import InvalidArgument
from stillroom_server.classification.export.folder import write_head
from stillroom_server.classification.export.onnx_graph import export_onnx
from stillroom_server.classification.export.parity import check
from stillroom_server.distillation.export.manifest import reseal, write_manifest
from stillroom_server.imports.recognize import HEAD_FILE, MODEL2VEC_CLASSIFIER, Recognized
from stillroom_server.imports.selection import SkippedFile
from stillroom_server.imports.students import verify_manifest
from stillroom_server.inference.classifier.classifier import Classifier
from stillroom_server.inference.classifier.files import MAX_LABELS, MAX_LAYERS
from stillroom_server.inference.classifier.head import HeadArrays, Task
from stillroom_server.inference.student_files import StudentFiles

_TASKS = {"softmax": Task.SINGLE_LABEL, "sigmoid": Task.MULTI_LABEL}
_MOST_SHOWN = 1000  # labels in the version's metadata; classifier.json has all


def complete_classifier(
    folder: Path,
    recognized: Recognized,
    origin: Mapping[str, Any],
    skipped: list[SkippedFile],
    on_run: Callable[[int], None],
) -> tuple[dict[str, Any], list[str]]:
    """Adds what a classifier of another house lacks, and checks it whole. Returns facts and notes.

    One of model2vec keeps its files, gets ours beside them, and answers with the probabilities that
    it had; one of this server's making is held to its manifest, and its ONNX file made anew.
    Raises InvalidArgument for files that contradict each other, and Internal(PARITY_FAILED).
    """
    notes: list[str] = []
    if recognized.layout == MODEL2VEC_CLASSIFIER:
        _convert(folder)
        notes.append("its probabilities are as model2vec gives them: they were never calibrated")
    else:
        verify_manifest(folder, {file.path for file in skipped})
    # The tokenizer that every other is held to needs no second's check.
    classifier = Classifier.load(folder, "huggingface", blame=InvalidArgument)
    export_onnx(folder)
    parity = check(folder, on_run=on_run)
    metrics = {"parity": parity}
    if recognized.layout == MODEL2VEC_CLASSIFIER:
        options = classifier.stated.get("options")
        lineage = {"origin": origin}
        write_manifest(folder, kind="classifier", lineage=lineage, options=options, metrics=metrics)
    else:
        reseal(folder, metrics=metrics)
    if classifier.needs_teacher:
        notes.append(f"it classifies vectors of {classifier.encoder_version}, which must be here")
    stated = dict(classifier.stated)
    if len(classifier.labels) > _MOST_SHOWN:
        for name in ("labels", "thresholds"):
            stated[name] = list(stated.get(name) or ())[:_MOST_SHOWN]
    facts = {
        "classifier": stated,
        "label_count": len(classifier.labels),
        "max_tokens": classifier.max_tokens,
        "parity": parity,
    }
    return facts, notes


def _convert(folder: Path) -> None:
    """Writes our files beside those of a pipeline that model2vec 0.10 saved."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))["head_config"]
    task = _TASKS[config["activation"]]
    labels = _labels(config.get("classes"))
    head = HeadArrays(_layers(folder, config.get("n_layers")))
    student = StudentFiles.load(folder, blame=InvalidArgument)
    if head.outputs != len(labels) or head.dimensions != student.dimensions:
        raise _refused(
            f"{HEAD_FILE} maps {head.dimensions} dimensions to {head.outputs} labels, where the "
            f"student has {student.dimensions} and config.json {len(labels)}"
        )
    hidden = [int(bias.shape[0]) for _, bias in head.layers[:-1]]
    description = {
        "task": task.value,
        "labels": labels,
        "dimensions": student.dimensions,
        "max_tokens": student.max_tokens,
        "options": {
            "task": task.value,
            **({"mlp": {"hidden_sizes": hidden}} if hidden else {"linear": {}}),
            "ngrams": {"mode": "NGRAM_MODE_OFF"},
            "encoding": {
                "truncate": True,
                "truncation_direction": "TRUNCATION_DIRECTION_RIGHT",
                "max_tokens": student.max_tokens,
                "normalize": student.normalize,
                "dimensions": student.dimensions,
            },
            "calibration": "CALIBRATION_METHOD_NONE",
        },
        "temperature": 1.0,
        # What model2vec's predict takes.
        "thresholds": [0.5] * len(labels) if task is Task.MULTI_LABEL else [],
        "abstention_threshold": 0.0,
    }
    write_head(folder, "static", head, description)


def _labels(classes: object) -> list[str]:
    if not isinstance(classes, list) or not 1 <= len(classes) <= MAX_LABELS:
        raise _refused(f"config.json has no list of 1 to {MAX_LABELS} classes")
    if not all(isinstance(name, str | int | float) and str(name) for name in classes):
        raise _refused("a class in config.json is no name")
    labels = [str(name) for name in classes]
    if len(set(labels)) != len(labels):
        raise _refused("config.json names a class twice")
    return labels


def _layers(
    folder: Path, count: object
) -> tuple[tuple[NDArray[np.float32], NDArray[np.float32]], ...]:
    if type(count) is not int or not 1 <= count <= MAX_LAYERS:
        raise _refused(f"its head has {str(count)[:50]} layers, not 1 to {MAX_LAYERS}")
    tensors = load_file(folder / HEAD_FILE)
    try:
        found = [(tensors[f"head.{i}.weight"], tensors[f"head.{i}.bias"]) for i in range(count)]
    except KeyError as error:
        raise _refused(f"{HEAD_FILE} has no tensor {error}") from error
    for i, (weights, bias) in enumerate(found):
        before = weights.shape[1] if i == 0 and weights.ndim == 2 else found[i - 1][1].shape[0]
        if bias.ndim != 1 or not bias.size or weights.shape != (len(bias), before) or not before:
            raise _refused(f"layer {i} of {HEAD_FILE} has the shape {weights.shape}")
    return tuple((w.T.astype(np.float32), b.astype(np.float32)) for w, b in found)


def _refused(what: str) -> InvalidArgument:
    return InvalidArgument(
        f"{what}; save the pipeline again with model2vec",
        reason="CLASSIFIER_INVALID",
        field="source",
    )
