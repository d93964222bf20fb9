"""The portable classifier against the one that serves, on the same folders."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inference.classifier.folders import LABELS, MULTI, TEXTS, describe, layers, write_tiny
from inference.students import byte_bpe, unigram

from stillroom.errors import DataLoss, FailedPrecondition, InvalidArgument
from stillroom.portable import PortableClassifier
from stillroom_server.classification.export.folder import write_classifier
from stillroom_server.inference.classifier.classifier import Classifier
from stillroom_server.inference.classifier.head import HeadArrays, probabilities

ROOT = Path(__file__).parents[2]
VARIANTS: dict[str, dict[str, Any]] = {
    "single": {},
    "multi": {"task": MULTI, "hidden": (7, 6)},
    "no n-grams": {"ngrams": False},
    "bytes": {"student": {"tokenizer_json": byte_bpe()}},
    "unigram": {"student": {"tokenizer_json": unigram()}},
    "int8": {"student": {"dtype": "int8", "mapping": True}},
    "unknown counts": {"student": {"config": {"count_unknown": True}}},
    "prompt": {
        "student": {"config": {"prompts": {"ask": "please help: "}}},
        "options": {"encoding": {"prompt_name": "ask"}},
    },
    "cut": {
        "dimensions": 9,
        "max_tokens": 4,
        "options": {
            "encoding": {
                "dimensions": 9,
                "normalize": False,
                "max_tokens": 4,
                "truncation_direction": "TRUNCATION_DIRECTION_LEFT",
                "prompt": "card ",
            }
        },
    },
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_it_computes_what_the_server_computes(tmp_path: Path, variant: str) -> None:
    folder = write_tiny(tmp_path / "c", **VARIANTS[variant])
    served, portable = Classifier.load(folder), PortableClassifier.load(folder)
    scores = served.scores(TEXTS)[0] * 1.5
    np.testing.assert_allclose(portable.decision_function(TEXTS), scores, rtol=1e-4, atol=2e-4)
    wanted = probabilities(scores, 1.5, served.description.task)
    np.testing.assert_allclose(portable.predict_proba(TEXTS), wanted, atol=2e-5)
    assert portable.classes_.tolist() == list(LABELS)
    given = served.classify(TEXTS)
    if portable.multi_label:
        assert portable.predict(TEXTS).sum(axis=1).tolist() == given.label_counts.tolist()
    else:
        assert portable.predict(TEXTS).tolist() == [LABELS[i] for i in given.label_indices]


def test_many_texts_are_taken_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    portable = PortableClassifier.load(write_tiny(tmp_path / "c"))
    whole = portable.decision_function(TEXTS)
    monkeypatch.setattr("stillroom.portable._TEXTS_AT_ONCE", 3)
    monkeypatch.setattr("stillroom._portable.computing._TOKENS_AT_ONCE", 5)
    np.testing.assert_allclose(portable.decision_function(TEXTS), whole, atol=1e-4)
    assert portable.predict([]).shape == (0,)
    assert portable.predict_proba([]).shape == (0, 5)


def test_numpy_arrays_of_texts_will_do_and_one_text_will_not(tmp_path: Path) -> None:
    portable = PortableClassifier.load(write_tiny(tmp_path / "c"))
    assert portable.predict(np.array(TEXTS)).tolist() == portable.predict(TEXTS).tolist()
    with pytest.raises(InvalidArgument, match="a list"):
        portable.predict("one text")
    with pytest.raises(InvalidArgument, match=r"texts\[1\]"):
        portable.predict(["one", 2])  # type: ignore[list-item]


def test_scikit_learn_takes_it_for_one_of_its_own(tmp_path: Path) -> None:
    from sklearn.base import clone, is_classifier
    from sklearn.metrics import accuracy_score
    from sklearn.model_selection import cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.utils.validation import check_is_fitted

    portable = PortableClassifier.load(write_tiny(tmp_path / "c"))
    assert is_classifier(portable)
    check_is_fitted(portable)
    again = clone(portable)
    assert again is not portable
    wanted = portable.predict(TEXTS)
    assert again.predict(TEXTS).tolist() == wanted.tolist()
    assert make_pipeline(portable).predict(TEXTS).tolist() == wanted.tolist()
    assert portable.score(TEXTS, wanted) == accuracy_score(wanted, again.predict(TEXTS)) == 1
    assert cross_val_score(portable, np.array(TEXTS), wanted, cv=2).tolist() == [1, 1]
    assert set(portable.get_params()) == {"folder", "encoder"}
    with pytest.raises(ValueError, match="depth"):
        portable.set_params(depth=3)
    other = write_tiny(tmp_path / "d", ngrams=False)
    moved = portable.set_params(folder=other)
    assert moved is portable
    assert portable.get_params()["folder"] == other
    assert copy.deepcopy(portable).predict(TEXTS).tolist() == portable.predict(TEXTS).tolist()


def test_vectors_of_a_teacher_come_from_whoever_has_it(tmp_path: Path) -> None:
    arrays = HeadArrays(layers(6))
    write_classifier(
        tmp_path / "c",
        encoder_folder=tmp_path / "none",
        encoder_kind="teacher",
        head=arrays,
        description=describe(dimensions=6),
    )
    with pytest.raises(FailedPrecondition, match="teacher"):
        PortableClassifier.load(tmp_path / "c")
    vectors = np.random.default_rng(0).standard_normal((3, 6)).astype(np.float32)
    portable = PortableClassifier.load(tmp_path / "c", encoder=lambda texts: vectors)
    weights, bias = arrays.layers[0]
    np.testing.assert_allclose(
        portable.decision_function(["a", "b", "c"]), vectors @ weights + bias, rtol=1e-5
    )
    with pytest.raises(InvalidArgument, match="shape"):
        portable.predict(["a"])


@pytest.mark.parametrize(
    "file", ["classifier.json", "classifier.safetensors", "model.safetensors", "tokenizer.json"]
)
def test_damaged_files_are_named(tmp_path: Path, file: str) -> None:
    folder = write_tiny(tmp_path / "c")
    (folder / file).write_bytes(b"\0" * 64)
    with pytest.raises(DataLoss, match=file.replace(".", r"\.")):
        PortableClassifier.load(folder)


def test_another_format_and_missing_parts_are_refused(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path / "c")
    content = json.loads((folder / "classifier.json").read_text())
    (folder / "classifier.json").write_text(json.dumps({**content, "format": 2}))
    with pytest.raises(DataLoss, match="format"):
        PortableClassifier.load(folder)
    content.pop("labels")
    (folder / "classifier.json").write_text(json.dumps(content))
    with pytest.raises(DataLoss, match="labels"):
        PortableClassifier.load(folder)


def test_numpy_safetensors_and_tokenizers_are_enough(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path / "c")
    code = (
        "import sys\n"
        "allowed = {'numpy', 'safetensors', 'tokenizers', 'stillroom'}\n"
        "from stillroom.portable import PortableClassifier\n"
        f"print(PortableClassifier.load({str(folder)!r}).predict(['my card'])[0])\n"
        "heavy = {'grpc', 'scipy', 'sklearn', 'onnxruntime', 'torch', 'stillroom_server',"
        " 'transformers', 'google', 'pickle5', 'pydantic'}\n"
        "print(sorted(heavy & {m.partition('.')[0] for m in sys.modules}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(ROOT / "client" / "python")},
    )
    label, loaded = done.stdout.strip().splitlines()
    assert label in LABELS
    assert loaded == "[]"
