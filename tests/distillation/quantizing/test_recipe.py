"""Any static student in fewer bytes, read by the other libraries as by us."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from distillation.export.test_interop import LIBRARIES, assert_same, ours
from distillation.export.tiny import (
    LONG_TEXT,
    TEXTS,
    TOKENIZERS,
    UNKNOWN_ONLY,
    add_tensors,
    edit_json,
    table_for,
    wordpiece,
    write_tiny,
)
from safetensors.numpy import load_file

from stillroom_registry.errors import (
    Cancelled,
    DataLoss,
    FailedPrecondition,
    InvalidArgument,
)
from stillroom_server.distillation.quantizing.options import QuantizeOptions
from stillroom_server.distillation.quantizing.recipe import PHASES, quantize_student
from stillroom_server.inference.embedder import StudentEmbedder

ALL = [*TEXTS, UNKNOWN_ONLY, LONG_TEXT, "", "😀🎉"]


class Recorder:
    """A context that remembers, and cancels at a chosen phase."""

    def __init__(self, cancel_in: str | None = None) -> None:
        self.seen: list[tuple[str, int, int]] = []
        self._cancel_in = cancel_in

    def progress(self, phase: str, done: int, total: int, *, unit: str, message: str = "") -> None:
        self.seen.append((phase, done, total))

    def check_cancelled(self) -> None:
        if self.seen[-1][0] == self._cancel_in:
            raise Cancelled("stop")


def quantize(source: Path, output: Path, element_type: str = "int8", **how: Any) -> dict[str, Any]:
    options = QuantizeOptions(element_type, how.pop("clusters", 0), how.pop("seed", 0))
    return quantize_student(source, output, options, **{"verify": False, "texts": ALL, **how})


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("clusters", [0, 40])
@pytest.mark.parametrize("element_type", ["float16", "int8"])
@pytest.mark.parametrize("family", TOKENIZERS)
def test_all_readers_agree(tmp_path: Path, family: str, element_type: str, clusters: int) -> None:
    write_tiny(tmp_path / "a", family=family, max_tokens=None)
    facts = quantize(tmp_path / "a", tmp_path / "b", element_type, clusters=clusters, verify=True)
    expected = ours(tmp_path / "b", ALL)
    for vectors in LIBRARIES.values():
        assert_same(vectors(tmp_path / "b", ALL), expected)
    served = StudentEmbedder.load(tmp_path / "b").embed(ALL).vectors
    np.testing.assert_allclose(served, expected, atol=1e-5)
    assert facts["onnx_parity"]["min_cosine"] > 0.999999
    assert facts["loss"]["texts"] == int(ours(tmp_path / "a", ALL).any(axis=1).sum())
    tensors = load_file(tmp_path / "b" / "model.safetensors")
    assert tensors["embeddings"].dtype == np.dtype(element_type)
    if clusters:
        assert facts["rows"] == len(tensors["embeddings"]) == clusters
        assert facts["vocabulary_size"] == len(tensors["mapping"]) > clusters
        assert 0.5 < facts["loss"]["mean_cosine"] < 0.9999
    else:
        assert facts["loss"]["min_cosine"] > 0.999
    assert facts["student_bytes"] < facts["source_bytes"]


def test_the_loss_is_what_it_says(tmp_path: Path) -> None:
    write_tiny(tmp_path / "a")
    facts = quantize(tmp_path / "a", tmp_path / "b", clusters=20)
    one, other = ours(tmp_path / "a", ALL), ours(tmp_path / "b", ALL)
    heard = one.any(axis=1)
    cosines = (one * other).sum(axis=1)[heard]
    assert facts["loss"]["mean_cosine"] == pytest.approx(cosines.mean(), abs=1e-9)
    assert facts["loss"]["min_cosine"] == pytest.approx(cosines.min(), abs=1e-9)
    assert facts["size"] == pytest.approx(
        (tmp_path / "b/model.safetensors").stat().st_size
        / (tmp_path / "a/model.safetensors").stat().st_size,
        abs=1e-4,
    )
    # Without texts of the caller's there are others.
    assert quantize(tmp_path / "a", tmp_path / "c", clusters=20, texts=())["loss"]["texts"] > 100


@pytest.mark.parametrize("normalize", [True, False])
def test_what_the_source_says_of_itself_stays(tmp_path: Path, normalize: bool) -> None:
    write_tiny(
        tmp_path / "a",
        normalize=normalize,
        max_tokens=5,
        config_extra={"sif_coefficient": 1e-3, "prompts": {"query": "the "}},
        card={"title": "a", "license": "mit", "language": ["en"]},
    )
    edit_json(tmp_path / "a/stillroom.json", prompts={"other": "a "})
    quantize(tmp_path / "a", tmp_path / "b", name="small", source_name="models/a/versions/1")
    config = json.loads((tmp_path / "b/config.json").read_text())
    assert (config["normalize"], config["max_length"]) == (normalize, 5)
    assert config["sif_coefficient"] == 1e-3
    assert config["embedding_dtype"] == "int8"
    assert config["prompts"] == {"query": "the ", "other": "a "}
    assert StudentEmbedder.load(tmp_path / "b").prompts == config["prompts"]
    manifest = json.loads((tmp_path / "b/stillroom.json").read_text())
    assert manifest["lineage"] == {"source": "models/a/versions/1", "recipe": "quantize"}
    assert manifest["options"]["element_type"] == "int8"
    card = (tmp_path / "b/README.md").read_text()
    assert "license: mit" in card
    assert "# small" in card
    one, other = ours(tmp_path / "a", ["the river and"]), ours(tmp_path / "b", ["the river and"])
    np.testing.assert_allclose(np.linalg.norm(one), np.linalg.norm(other), rtol=1e-2)


def test_a_student_of_shared_rows_goes_on_sharing_them(tmp_path: Path) -> None:
    write_tiny(tmp_path / "a", max_tokens=None)
    quantize(tmp_path / "a", tmp_path / "b", "float16", clusters=30)
    facts = quantize(tmp_path / "b", tmp_path / "c", "int8")
    assert facts["rows"] == 30
    before, after = (load_file(tmp_path / n / "model.safetensors") for n in "bc")
    np.testing.assert_array_equal(before["mapping"], after["mapping"])
    assert facts["loss"]["min_cosine"] > 0.999
    expected = ours(tmp_path / "c", ALL)
    for vectors in LIBRARIES.values():
        assert_same(vectors(tmp_path / "c", ALL), expected)


def test_weights_of_the_source_count(tmp_path: Path) -> None:
    table = write_tiny(tmp_path / "a")
    weights = np.linspace(0.1, 4.0, len(table)).astype(np.float32)
    add_tensors(tmp_path / "a", weights=weights)
    facts = quantize(tmp_path / "a", tmp_path / "b")
    assert facts["loss"]["min_cosine"] > 0.999
    (tmp_path / "c").mkdir()
    write_tiny(tmp_path / "c")  # another student, whose tokens all weigh the same
    one, other = (ours(tmp_path / name, [LONG_TEXT]) for name in "bc")
    assert (one * other).sum() < 0.999


def test_model2vecs_int8_can_be_clustered(tmp_path: Path) -> None:
    from model2vec import StaticModel

    table = np.clip(table_for(wordpiece()) * 4, -127, 127).astype(np.int8)
    model = StaticModel(table, wordpiece(), normalize=True, max_length=None)
    model.save_pretrained(tmp_path / "a")
    facts = quantize(tmp_path / "a", tmp_path / "b", clusters=60)
    assert facts["source_element_type"] == "int8"
    expected = ours(tmp_path / "b", ALL)
    for vectors in LIBRARIES.values():
        assert_same(vectors(tmp_path / "b", ALL), expected)


@pytest.mark.parametrize(
    ("stored", "wanted"), [("float16", "float16"), ("int8", "int8"), ("int8", "float16")]
)
def test_nothing_to_gain(tmp_path: Path, stored: str, wanted: str) -> None:
    write_tiny(tmp_path / "a", element_type=stored)
    with pytest.raises(FailedPrecondition) as caught:
        quantize(tmp_path / "a", tmp_path / "b", wanted)
    assert (caught.value.reason, caught.value.field) == ("NOTHING_TO_GAIN", "quantize.element_type")
    assert not (tmp_path / "b").exists()


def test_as_many_clusters_as_rows(tmp_path: Path) -> None:
    rows = len(write_tiny(tmp_path / "a"))
    with pytest.raises(InvalidArgument) as caught:
        quantize(tmp_path / "a", tmp_path / "b", clusters=rows)
    assert caught.value.field == "quantize.vocabulary_clusters"


def test_values_beyond_float16(tmp_path: Path) -> None:
    table = write_tiny(tmp_path / "a")
    add_tensors(tmp_path / "a", embeddings=table * 1e6)
    with pytest.raises(InvalidArgument) as caught:
        quantize(tmp_path / "a", tmp_path / "b", "float16")
    assert caught.value.field == "quantize.element_type"
    assert quantize(tmp_path / "a", tmp_path / "c", "int8")["loss"]["min_cosine"] > 0.999


def test_a_damaged_student(tmp_path: Path) -> None:
    write_tiny(tmp_path / "a")
    weights = tmp_path / "a/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(DataLoss):
        quantize(tmp_path / "a", tmp_path / "b")


def test_the_same_bytes_every_time_but_for_what_the_clock_says(tmp_path: Path) -> None:
    write_tiny(tmp_path / "a")
    for name in "bc":
        quantize(tmp_path / "a", tmp_path / name, clusters=25, seed=7, verify=True)
    assert digests(tmp_path / "b") == digests(tmp_path / "c")
    quantize(tmp_path / "a", tmp_path / "d", clusters=25, seed=8, verify=True)
    name = "model.safetensors"
    assert digests(tmp_path / "b")[name] != digests(tmp_path / "d")[name]


def test_progress(tmp_path: Path) -> None:
    write_tiny(tmp_path / "a")
    context = Recorder()
    facts = quantize(tmp_path / "a", tmp_path / "b", clusters=25, context=context, verify=True)
    assert list(facts["seconds"]) == list(PHASES)
    assert list(dict.fromkeys(phase for phase, _, _ in context.seen)) == list(PHASES)
    for phase in PHASES:
        seen = [(done, total) for name, done, total in context.seen if name == phase]
        assert seen == sorted(seen)
        assert seen[-1][0] == seen[-1][1]


@pytest.mark.parametrize("phase", PHASES[1:])
def test_cancelling(tmp_path: Path, phase: str) -> None:
    write_tiny(tmp_path / "a")
    with pytest.raises(Cancelled):
        quantize(tmp_path / "a", tmp_path / "b", clusters=25, context=Recorder(phase))


@pytest.mark.teacher
def test_a_real_students_size_and_loss(minilm: Path, tmp_path: Path) -> None:
    from stillroom_server.distillation.options import StaticOptions
    from stillroom_server.distillation.recipe import distill_static

    options = StaticOptions(element_type="float32", dimensions=256)
    distill_static(minilm, tmp_path / "a", options, verify=False)
    small = quantize(tmp_path / "a", tmp_path / "b", texts=())
    assert small["size"] <= 0.27
    assert small["loss"]["min_cosine"] > 0.999
    half = quantize(tmp_path / "a", tmp_path / "c", "float16", texts=())
    assert half["size"] < 0.51
    assert half["loss"]["min_cosine"] > 0.99999
