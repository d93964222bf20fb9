from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import LogisticRegression

from stillroom_registry.errors import Cancelled, InvalidArgument
from stillroom_server.distillation.fidelity.evaluations import tables
from stillroom_server.distillation.fidelity.evaluations.evaluate import evaluate, read_evaluation
from stillroom_server.distillation.fidelity.evaluations.labels import read_labels, split
from stillroom_server.distillation.fidelity.evaluations.logistic import fit_predict
from stillroom_server.distillation.fidelity.evaluations.similarity import (
    read_similarity,
    score_similarity,
)
from stillroom_server.distillation.fidelity.evaluations.tables import Refusal
from stillroom_server.distillation.fidelity.progress import Meter

REFUSE = Refusal("data", "evaluations[0].source")


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_tabs_take_quotation_marks_as_they_are(tmp_path: Path) -> None:
    path = written(tmp_path, "sts.tsv", '4.4\t"Hi," she said.\tHe said "no\r\n\n0\ta\tb\n1\tc\té\n')
    data = read_similarity(path, REFUSE)
    assert data.first == ['"Hi," she said.', "a", "c"]
    assert data.second == ['He said "no', "b", "é"]
    assert data.scores.tolist() == [4.4, 0, 1]


def test_commas_take_quoting_and_a_header_names_columns(tmp_path: Path) -> None:
    content = (
        '\ufeffid,Sentence2,sentence1,Score\n1,"a, ""b""",c,0.5\n2,"two\nlines",e,1\n3,f,g,2\n'
    )
    data = read_similarity(written(tmp_path, "sts.csv", content), REFUSE)
    assert data.second == ['a, "b"', "two\nlines", "f"]
    assert data.first == ["c", "e", "g"]
    assert data.scores.tolist() == [0.5, 1, 2]


def test_other_names_are_told_by_their_first_line(tmp_path: Path) -> None:
    tabbed = written(tmp_path, "upload", "1\ta,b\tc\n2\td\te\n3\tf\tg\n")
    assert read_similarity(tabbed, REFUSE).first[0] == "a,b"
    commas = written(tmp_path, "upload.txt", "1,a,c\n2,d,e\n3,f,g\n")
    assert read_similarity(commas, REFUSE).first[0] == "a"


@pytest.mark.parametrize(
    ("name", "content", "line", "said"),
    [
        ("a.tsv", "1\ta\tb\n2\tc\n", 2, "2 columns"),
        ("a.tsv", "1\ta\tb\n\n\nhigh\tc\td\n", 4, "'high' is not a number"),
        ("a.tsv", "1\ta\tb\nnan\tc\td\n", 2, "not finite"),
        ("a.tsv", "1\ta\tb\n2\t \td\n", 2, "blank"),
        ("a.tsv", b"1\ta\tb\n2\tc\xe9\td\n", 2, "byte 0xe9 is not UTF-8"),
        ("a.tsv", "1\ta\tb\n2\tc\td\n".encode("utf-16"), None, "UTF-16"),
        ("a.tsv", "1\ta\tb\n2\tc\td\n", None, "needs 3"),
        ("a.tsv", "1\ta\tb\n1\tc\td\n1\te\tf\n", None, "all scores are the same"),
        ("a.tsv", "", None, "0 pairs"),
        ("a.csv", '1,a,b\n2,"c"x,d\n', 2, "not readable as CSV"),
        ("a.csv", '1,a,b\n2,c,"d\n', 2, "not readable as CSV"),
        ("a.csv", "1,a,b\n2," + "x" * 200_000 + ",c\n", 2, "field larger"),
    ],
)
def test_bad_pairs_are_refused_with_their_line(
    tmp_path: Path, name: str, content: str | bytes, line: int | None, said: str
) -> None:
    with pytest.raises(InvalidArgument, match=said) as caught:
        read_similarity(written(tmp_path, name, content), REFUSE)
    assert caught.value.field == "evaluations[0].source"
    assert caught.value.reason == "EVALUATION_INVALID"
    assert caught.value.metadata.get("line") == (None if line is None else str(line))


@pytest.mark.parametrize(
    ("content", "line", "said"),
    [
        ("", None, "no rows"),
        ("text,label\n", None, "no rows"),
        ("how do I,1\n", 1, "must name the columns"),
        ("text,label\na,1\nb,1\n", None, "same label"),
        ("text,label\na,1\nb,2\nc,2\n", None, "'1' occurs once"),
        ("text,label\na,1\nb\n", 3, "1 columns"),
        ("text,label\na,1\n ,2\n", 3, "text is blank"),
        ('text,label\n"two\nlines",1\nb,\n', 4, "label is blank"),
    ],
)
def test_bad_labels_are_refused_with_their_line(
    tmp_path: Path, content: str, line: int | None, said: str
) -> None:
    with pytest.raises(InvalidArgument, match=said) as caught:
        read_labels(written(tmp_path, "a.csv", content), REFUSE, 0)
    assert caught.value.metadata.get("line") == (None if line is None else str(line))


def test_files_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many = "text,label\n" + "".join(f"t{i},{i}\n" for i in range(1001)) * 2
    with pytest.raises(InvalidArgument, match=r"1,001 labels; at most 1,000"):
        read_labels(written(tmp_path, "labels.csv", many), REFUSE, 0)
    path = written(tmp_path, "rows.csv", "1,a,b\n" * (tables.MOST_ROWS + 1))
    with pytest.raises(InvalidArgument, match="more than 50,000"):
        read_similarity(path, REFUSE)
    monkeypatch.setattr(tables, "MOST_BYTES", 10)
    with pytest.raises(InvalidArgument, match="larger than"):
        read_similarity(path, REFUSE)
    with pytest.raises(InvalidArgument, match="cannot be read"):
        read_similarity(tmp_path / "missing.csv", REFUSE)


def test_a_split_takes_a_fifth_of_each_label_by_the_seed() -> None:
    labels = np.repeat([0, 1, 2], [50, 10, 2])
    training, test = split(labels, seed=0)
    assert sorted([*training, *test]) == list(range(62))
    assert np.bincount(labels[test]).tolist() == [10, 2, 1]
    assert np.array_equal(split(labels, seed=0)[1], test)
    assert not np.array_equal(split(labels, seed=1)[1], test)


def test_a_test_file_of_its_own_may_have_labels_that_training_lacks(tmp_path: Path) -> None:
    training = written(tmp_path, "train.csv", "text,category\na,x\nb,y\n")
    test = written(tmp_path, "test.tsv", "label\ttext\ny\tc\nz\td\n")
    data = read_labels(training, REFUSE, 0, test)
    assert data.texts == ["a", "b", "c", "d"]
    assert data.labels.tolist() == [0, 1, 1, -1]
    assert data.test.tolist() == [2, 3]


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_classifier_is_scikit_learns(classes: int, dtype: type) -> None:
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((400, 20)).astype(dtype)
    labels = (rows @ rng.standard_normal((20, classes))).argmax(axis=1)
    labels = np.where(rng.random(400) < 0.2, rng.integers(0, classes, 400), labels)
    model = LogisticRegression(C=10, max_iter=1000).fit(rows[:300], labels[:300])
    found = fit_predict(rows[:300], labels[:300], classes, rows[300:])
    assert np.mean(found == model.predict(rows[300:])) >= 0.99


def test_a_fit_can_be_cancelled() -> None:
    def cancel() -> None:
        raise Cancelled("asked")

    with pytest.raises(Cancelled):
        fit_predict(np.eye(4), np.array([0, 1, 0, 1]), 2, np.eye(4), cancel)


def test_similarity_is_the_correlation_of_cosines() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.standard_normal((2, 50, 8)).astype(np.float32)
    scores = rng.random(50)
    cosines = [
        a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(first, second, strict=True)
    ]
    expected = stats.spearmanr(cosines, scores).statistic
    assert score_similarity(scores, first, second) == pytest.approx(expected, abs=1e-6)


class Student:
    """Vectors that tell the first letter alone."""

    def embed(self, texts: list[str]):
        class Result:
            vectors = np.array([[t[0] == "a", t[0] != "a", 0.1] for t in texts], np.float32)
            tokens = np.ones(len(texts), np.int32)

        return Result


def test_both_models_are_scored_on_the_same_texts(tmp_path: Path) -> None:
    labels = "text,label\n" + "".join(f"{'ab'[i % 2]} {i},{'xy'[i % 2]}\n" for i in range(40))
    path = written(tmp_path, "labels.csv", labels)
    seen: list[str] = []

    def encode(texts: list[str]) -> np.ndarray:
        seen.extend(texts)
        return np.array([[len(t), 1.0] for t in texts], np.float32)  # knows nothing

    evaluation = read_evaluation("letters", "labels", path)
    found = evaluate(evaluation, Student(), encode, Meter(None, 0))
    assert found["student"] == 1.0
    assert found["teacher"] < 1.0
    assert {k: found[k] for k in ("name", "kind", "metric", "count")} == {
        "name": "letters",
        "kind": "labels",
        "metric": "accuracy",
        "count": 8,
    }
    assert sorted(seen) == sorted(evaluation.data.texts)
    pairs = written(tmp_path, "p.tsv", "3\ta\tab\n1\ta\tb\n2.5\tb\tbb\n")
    found = evaluate(read_evaluation("p", "similarity", pairs), Student(), encode, Meter(None, 0))
    assert (found["metric"], found["count"]) == ("spearman", 3)
    assert found["student"] == pytest.approx(stats.spearmanr([3, 1, 2.5], [1, 0, 1]).statistic)
