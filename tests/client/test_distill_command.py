"""``stillroom distill`` and the reports that it and ``stillroom models`` show."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from client.conftest import CONTENT
from client.fake_server import FakeServer
from client.test_cli import MODELS
from client.test_distill import too_low
from client.test_operations import DISTILL, WATCH, operation, watching
from stillroom.cli import exits
from stillroom.v1 import common_pb2, fidelity_pb2, model_pb2
from stillroom.v1 import distillation_service_pb2 as pb
from stillroom.v1 import model_service_pb2 as models
from stillroom.v1 import operation_service_pb2 as operations

INT8 = common_pb2.ELEMENT_TYPE_INT8
FULL = fidelity_pb2.FidelityReport(
    recipe="static_tuned",
    vocabulary_size=31_000,
    dimensions=256,
    student_bytes=8_000_000,
    teacher_bytes=88_000_000,
    element_type=INT8,
    explained_variance=0.9123,
    texts=2048,
    silent_texts=3,
    text_source=fidelity_pb2.FIDELITY_TEXTS_HELD_OUT,
    cosine_basis=fidelity_pb2.COSINE_BASIS_ALIGNED,
    mean_cosine=0.81234,
    p5_cosine=0.61234,
    similarity_spearman=0.87654,
    similarity_pairs=99_999,
    recall_at_10=0.5432,
    recall_neighbors=10,
    student_texts_per_second=51_234.4,
    student_tokens_per_second=1_234_567.8,
    teacher_texts_per_second=607.3,
    prefixes=[
        fidelity_pb2.PrefixQuality(dimensions=64, similarity_spearman=0.8),
        fidelity_pb2.PrefixQuality(
            dimensions=256, similarity_spearman=0.87654, recall_at_10=0.5432, mean_cosine=0.81234
        ),
    ],
    quantizations=[
        fidelity_pb2.QuantizationLoss(
            element_type=INT8, mean_cosine=0.99991, bytes=8_000_000, spearman_change=-0.00012
        )
    ],
    scores=[
        fidelity_pb2.TaskScore(
            name="sts", metric="spearman", student=0.6808, teacher=0.725, count=3000
        )
    ],
    corpus=fidelity_pb2.CorpusFacts(texts=47_000, held_out=2350, duplicates=91),
    training=fidelity_pb2.TrainingFacts(
        epochs=16,
        steps=2960,
        words_added=2000,
        history=[
            fidelity_pb2.TrainingPoint(step=0, cosine=0.5),
            fidelity_pb2.TrainingPoint(step=9, cosine=0.7),
        ],
        stopped="epochs",
    ),
    seconds={"train": 65.0},
)
SHOWN = (
    *("static_tuned", "31,000 tokens x 256 dimensions", "8.0 MB in int8", "11.0 times", "91.2%"),
    *("2,048 texts held out of the corpus, 3 without a known token",),
    *("0.8123 to the teacher, 5th percentile 0.6123 after alignment to its space",),
    *("0.8765 Spearman to the teacher's, 99,999 pairs", "54.3% of the teacher's 10 nearest"),
    *("51,234 texts/s, 1,234,568 tokens/s", "607 texts/s", "47,000 texts, 2,350 of them held out"),
    *(
        "91 duplicates",
        "16 epochs, 2,960 steps; held-out cosine 0.5000 to 0.7000",
    ),
    *("2,000 words added to the vocabulary", "ended: epochs", "train 1 min 5 s"),
    *("FIRST DIMENSIONS", "64", "STORED AS", "0.99991", "-0.00012", "EVALUATION", "93.9%"),
)


def finished(server: FakeServer, report: fidelity_pb2.FidelityReport = FULL) -> None:
    """Scripts a distillation that succeeds."""
    response = pb.DistillResponse(teacher_version="models/t/versions/1", report=report)
    response.model_version.name = "models/s/versions/1"
    done = operation(operations.OPERATION_STATE_SUCCEEDED, response=response)
    server.answer(DISTILL, operation(operations.OPERATION_STATE_PENDING))
    server.on(WATCH, watching(operation(done=5), done))


def test_the_report_is_a_readable_table(server: FakeServer, run: Any) -> None:
    finished(server)
    ran = run("distill", "t", "--name", "s")
    assert ran.code == 0, ran.err
    for text in ("models/s/versions/1", "models/t/versions/1", *SHOWN):
        assert text in ran.out, text
    machine = json.loads(run("distill", "t", "--name", "s", "--json").out)
    report = machine["response"]["report"]
    assert report["prefixes"][0] == {"dimensions": 64, "similarity_spearman": 0.8}
    assert report["cosine_basis"] == "aligned"
    assert report["text_source"] == "held_out"
    assert report["training"]["history"][1]["cosine"] == 0.7


def test_a_report_without_measurements(server: FakeServer, run: Any) -> None:
    finished(server, fidelity_pb2.FidelityReport())
    ran = run("distill", "t", "--name", "s")
    assert ran.code == 0
    assert ran.out.splitlines() == [
        "student    models/s/versions/1",
        "made from  models/t/versions/1",
    ]


def test_every_option_reaches_the_request(
    server: FakeServer,
    run: Any,
    received: list[bytes],
    tmp_path: Path,
) -> None:
    finished(server)
    corpus, pairs, labels = (tmp_path / name for name in ("c.txt", "sts.tsv", "bank.csv"))
    corpus.write_text("one\ntwo\n")
    pairs.write_text("1\ta\tb\n")
    labels.write_text("text,label\n")
    ran = run(
        *("distill", "t", "--name", "s", "--recipe", "static-tuned", "--corpus", str(corpus)),
        *("--dimensions", "64", "--element-type", "int8", "--epochs", "4", "--seed", "3"),
        *("--time-budget", "60", "--held-out", "0.1", "--grow-words", "0", "--grow-pairs", "9"),
        *("--matryoshka", "16", "--matryoshka", "32"),
        *("--minimum-fidelity", "mean_cosine=0.8, recall_at_10=0.4"),
        *("--evaluate", f"sts={pairs}", "--evaluate", f"bank={labels}"),
        *("--evaluate-test", f"bank={labels}", "--budget-seconds", "600"),
        *("--budget-memory-bytes", "1000", "--budget-result-bytes", "2000"),
    )
    assert ran.code == 0, ran.err
    assert received == [b"one\ntwo\n", b"1\ta\tb\n", b"text,label\n", b"text,label\n"]
    request: Any = next(item for item in server.requests if isinstance(item, pb.DistillRequest))
    expected = pb.DistillRequest(
        teacher="t",
        name="s",
        static_tuned=pb.StaticTunedRecipe(
            static=pb.StaticRecipe(dimensions=64, element_type=INT8, seed=3),
            max_epochs=4,
            time_budget_seconds=60,
            held_out=0.1,
            grow_words=0,
            grow_pairs=9,
            matryoshka_dimensions=[16, 32],
        ),
        corpus=common_pb2.Corpus(upload="uploads/1"),
        minimum_fidelity=pb.MinimumFidelity(mean_cosine=0.8, recall_at_10=0.4),
        budget=common_pb2.Budget(seconds=600, memory_bytes=1000, result_bytes=2000),
        evaluations=[
            pb.EvaluationSet(
                name="sts", kind=fidelity_pb2.EVALUATION_KIND_SIMILARITY, upload="uploads/2"
            ),
            pb.EvaluationSet(
                name="bank",
                kind=fidelity_pb2.EVALUATION_KIND_LABELS,
                upload="uploads/3",
                test_upload="uploads/4",
            ),
        ],
        request_id=request.request_id,
    )
    assert request == expected


@pytest.mark.parametrize(
    ("arguments", "corpus"),
    [
        (["--corpus-path", "/c.txt"], common_pb2.Corpus(path="/c.txt")),
        (
            ["--dataset", "a/b@main", "--dataset-split", "test", "--dataset-column", "body"],
            common_pb2.Corpus(
                dataset=common_pb2.HubDataset(
                    repo="a/b", revision="main", split="test", column="body"
                )
            ),
        ),
    ],
)
def test_corpora_that_are_not_here(
    server: FakeServer,
    run: Any,
    arguments: list[str],
    corpus: common_pb2.Corpus,
) -> None:
    finished(server)
    ran = run("distill", "t", "--name", "s", "--recipe", "transformer", "--layers", "3", *arguments)
    assert ran.code == 0, ran.err
    request: Any = server.requests[0]
    assert request.corpus == corpus
    assert request.transformer.layers == 3


@pytest.mark.parametrize(
    "arguments",
    [
        ["--recipe", "magic"],
        ["--recipe", "static", "--layers", "3"],
        ["--corpus", "/nonexistent"],
        ["--corpus", "/x", "--corpus-path", "/y"],
        ["--dataset-split", "train"],
        ["--evaluate", "sts"],
        ["--evaluate", "sts=/nonexistent"],
        ["--evaluate", "a=/x", "--evaluate", "a=/y"],
        ["--evaluate-test", "a=/x"],
        ["--minimum-fidelity", "high"],
        ["--minimum-fidelity", "cosine=0.5"],
        ["--minimum-fidelity", "mean_cosine=high"],
        ["--budget-seconds", "soon"],
    ],
)
def test_wrong_usage_asks_for_nothing(
    server: FakeServer,
    run: Any,
    arguments: list[str],
) -> None:
    ran = run("distill", "t", "--name", "s", *arguments)
    assert ran.code == exits.USAGE
    assert ran.err
    assert server.calls == []


def test_a_student_below_the_demand(server: FakeServer, run: Any) -> None:
    server.answer(DISTILL, operation())
    server.on(WATCH, watching(operation(error=too_low())))
    ran = run("distill", "t", "--name", "s", "--minimum-fidelity", "0.9")
    assert ran.code == exits.BY_CODE["FAILED_PRECONDITION"]
    assert "error: too low" in ran.err
    assert "0.6100 to the teacher" in ran.out
    machine = run("distill", "t", "--name", "s", "--minimum-fidelity", "0.9", "--json")
    error = json.loads(machine.err.splitlines()[-1])["error"]
    assert (error["reason"], error["report"]["mean_cosine"]) == ("FIDELITY_TOO_LOW", 0.61)
    assert machine.out == ""


@pytest.mark.parametrize("wait", ["--wait", "--no-wait"])
def test_what_is_only_validated(server: FakeServer, run: Any, wait: str) -> None:
    done = operation(
        operations.OPERATION_STATE_SUCCEEDED,
        response=pb.DistillResponse(teacher_version="models/t/versions/1"),
        name="",
    )
    server.answer(DISTILL, done)
    ran = run("distill", "t", "--name", "s", "--validate-only", wait)
    assert (ran.code, server.calls) == (0, [DISTILL])
    assert "none was made: everything checks out" in ran.out


def reported(server: FakeServer, version: model_pb2.ModelVersion) -> None:
    """Gives ``version`` the full report, and answers it wherever one asks for it."""
    version.fidelity.CopyFrom(FULL)
    version.metadata.update({"recipe": "static_tuned", "report": {"mean_cosine": 0.81234}})
    server.answer(
        f"{MODELS}/GetModelVersion", models.GetModelVersionResponse(model_version=version)
    )
    server.answer(
        f"{MODELS}/GetModel", models.GetModelResponse(model=model_pb2.Model(name="models/s"))
    )
    server.answer(
        f"{MODELS}/ListModelVersions", models.ListModelVersionsResponse(model_versions=[version])
    )


def test_models_show_the_report(
    server: FakeServer,
    run: Any,
    version: model_pb2.ModelVersion,
) -> None:
    reported(server, version)
    for name in ("s", "s@1"):
        shown = run("models", "show", name).out
        for text in SHOWN:
            assert text in shown, text
        assert '"mean_cosine"' not in shown  # not as JSON too
    of_version = json.loads(run("models", "show", "s@1", "--json").out)
    assert of_version["fidelity"]["mean_cosine"] == 0.81234


def test_models_report(
    server: FakeServer,
    run: Any,
    version: model_pb2.ModelVersion,
    tmp_path: Path,
) -> None:
    reported(server, version)
    people = run("models", "report", "s")
    assert people.code == 0, people.err
    for text in ("models/s/versions/1", *SHOWN):
        assert text in people.out, text
    assert json.loads(run("models", "report", "s", "--json").out)["texts"] == 2048
    page = tmp_path / "out.html"
    ran = run("models", "report", "s", "--html", str(page))
    assert (ran.code, ran.out) == (0, ""), ran.err
    assert str(page) in ran.err
    html = page.read_text()
    assert "models/s/versions/1" in html
    assert base64.b64encode(CONTENT).decode() in html  # the figure of the version
    assert run("models", "report", "s", "--html", str(tmp_path / "no" / "x.html")).code == 4


def test_a_page_without_a_figure(
    server: FakeServer,
    run: Any,
    version: model_pb2.ModelVersion,
    tmp_path: Path,
) -> None:
    del version.files[:]
    reported(server, version)
    assert run("models", "report", "s", "--html", str(tmp_path / "x.html")).code == 0
    assert "0.8123" in (tmp_path / "x.html").read_text()


def test_what_was_not_distilled_has_no_report(server: FakeServer, run: Any) -> None:
    answer = models.GetModelVersionResponse()
    answer.model_version.name = "models/t/versions/1"
    server.answer(f"{MODELS}/GetModelVersion", answer)
    ran = run("models", "report", "t")
    assert ran.code == exits.BY_CODE["FAILED_PRECONDITION"]
    assert "no report" in ran.err
