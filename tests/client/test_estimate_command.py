"""``stillroom estimate``, and the estimate before long work."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import any_pb2
from google.rpc import code_pb2

from client.fake_server import TRAIN, FakeServer, fail, status
from client.test_cli import HOSTILE
from client.test_distill_command import finished
from client.test_estimate import (
    ACCURACY,
    DEVICES,
    ESTIMATE,
    estimate,
    figure,
    over_budget,
    recommended,
    refused,
    unknown,
)
from client.test_operations import DISTILL, operation
from stillroom import frontier
from stillroom.cli import agree, exits, human
from stillroom.costs import recommendation
from stillroom.v1 import classification_service_pb2 as classification
from stillroom.v1 import common_pb2
from stillroom.v1 import cost_service_pb2 as pb
from stillroom.v1 import distillation_service_pb2 as distillation
from stillroom.v1 import operation_service_pb2 as operations
from stillroom.v1 import upload_service_pb2 as uploads

DELETE_UPLOAD = "stillroom.v1.UploadService/DeleteUpload"


def answers(server: FakeServer, message: pb.CostEstimate | None = None) -> None:
    server.answer(ESTIMATE, pb.EstimateCostResponse(estimate=message or estimate()))


def asked(server: FakeServer) -> Any:
    return next(item for item in server.requests if isinstance(item, pb.EstimateCostRequest))


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [
        (130, human.precise_duration, "2 min 10 s"),
        (0.0355, human.precise_duration, "36 ms"),
        (7e-5, human.precise_duration, "70 us"),
        (0, human.precise_duration, "0 s"),
        (30 * 86400, human.precise_duration, "30 days"),
        (7200, human.precise_duration, "2 h 0 min"),
        (1440, human.energy, "0.4 Wh"),
        (3.6e6, human.energy, "1.0 kWh"),
        (1.8, human.energy, "0.5 mWh"),
        (0, human.energy, "0 Wh"),
        (0.2, human.carbon, "0.2 gCO2e"),
        (1234, human.carbon, "1.2 kgCO2e"),
        (0.003, human.money, "$0.003"),
        (0.0000123, human.money, "$0.000012"),
        (12.4, human.money, "$12.40"),
        (1234.5, human.money, "$1,234"),
        (0, human.money, "$0"),
        (1.2e12, human.operations, "1.2 TFLOP"),
        (999.9e9, human.operations, "1.0 TFLOP"),
        (989e12, human.operations, "989 TFLOP"),
        (1234567, human.count, "1,234,567"),
    ],
)
def test_units_that_people_use(value: float, form: Any, text: str) -> None:
    assert form(value) == text


def test_the_estimate_is_a_readable_table(server: FakeServer, run: Any) -> None:
    message = estimate()
    message.memory_fit.verdict = pb.VERDICT_KEPT
    message.memory_fit.available_bytes = 24_000_000_000
    message.table.display_name = "Knowledge Distillation"
    message.table.memory_multiplier.value = 5
    message.table.memory_multiplier.baseline = "inference memory"
    message.disagreements.add(
        figure="memory_multiplier", table=5, ratio=0.5, physical=figure(2, 2.5, 3), note="small"
    )
    physical = message.physical
    physical.assumptions.add(
        name="pue", value="1", source=pb.COST_ASSUMPTION_SOURCE_DEFAULT, note="no setting"
    )
    physical.omissions.add(name="the import", phase="load", reason="unknown size")
    physical.calibration.age_seconds = 7200
    physical.calibration.rates.add(name="teacher.forward")
    physical.intervals.needed_jobs = 10
    message.budget_check.limits.add(
        limit="seconds", value=600, estimate=figure(104, 130, 195), verdict=pb.VERDICT_KEPT
    )
    answers(server, message)
    ran = run("estimate", "distill", "t", "--texts", "47000", "--recipe", "static-tuned")
    assert ran.code == 0, ran.err
    for text in (
        *("STATIC_TUNED, 256 dimensions", "2 min 10 s", "1 min 44 s", "3 min 15 s", "calibrated"),
        *("1.3 GB", "0.4 Wh", "0.2 gCO2e", "$0.003", "1.2 TFLOP", "unknown", "no counter"),
        *("encode", "47,000 texts", "processor", "94.0% (92.0% to 96.0%)", "fits (24.0 GB there)"),
        *("inference memory", "0.50", "pue", "no setting", "the import", "unknown size"),
        *("2 h 0 min ago, 1 code paths", "0 jobs of this kind have run here, 10 are needed"),
        *("10 min 0 s", "kept"),
    ):
        assert text in ran.out, text
    machine = json.loads(run("estimate", "distill", "t", "--json").out)["estimate"]
    assert machine["physical"]["total"]["wall_seconds"]["p90"] == 195
    assert machine["physical"]["total"]["memory_traffic_bytes"]["basis"] == "unknown"


def test_text_of_the_server_cannot_steer_the_terminal(server: FakeServer, run: Any) -> None:
    message = estimate(HOSTILE)
    message.physical.phases[0].limited_by = HOSTILE
    message.physical.total.flops.note = HOSTILE
    answers(server, message)
    ran = run("estimate", "embed", "m", "--texts", "3")
    assert ran.code == 0
    assert "\x1b" not in ran.out


def test_figures_that_are_not_known_are_never_nothing(server: FakeServer, run: Any) -> None:
    answers(server, pb.CostEstimate(kind="distill", physical=pb.PhysicalEstimate()))
    ran = run("estimate", "distill", "t")
    assert ran.out.count("unknown") >= 10
    answers(server, pb.CostEstimate(kind="paradigm", not_runnable_reason="not here"))
    ran = run("estimate", "paradigm", "moe")
    assert "not here" in ran.out
    assert "EXPECTED" not in ran.out


def test_serving_has_its_own_figures(server: FakeServer, run: Any) -> None:
    message = estimate("mini at 50 texts/s", kind="serve")
    serving = message.outcome.serving
    serving.replicas.CopyFrom(figure(1, 2, 2))
    serving.utilization.CopyFrom(figure(0.2, 0.25, 0.3))
    serving.money_usd_per_million_texts.CopyFrom(figure(0.1, 0.12, 0.2))
    serving.p99_latency_seconds.CopyFrom(unknown())
    answers(server, message)
    ran = run("estimate", "serve", "mini", "--rate", "50", "--days", "1", "--peak", "80")
    for text in ("2 (1 to 2)", "25.0%", "$0.12"):
        assert text in ran.out, text
    assert "99 of 100" not in ran.out
    assert asked(server).workload.serve == pb.ServeWorkload(
        model="mini", texts_per_second=50, peak_texts_per_second=80, duration_seconds=86400
    )


@pytest.mark.parametrize(
    ("arguments", "workload"),
    [
        (
            ["embed", "m", "--texts", "9", "--tokens-per-text", "3", "--texts-per-request", "2"],
            pb.Workload(
                embed=pb.EmbedWorkload(model="m", texts=9, tokens_per_text=3, texts_per_request=2)
            ),
        ),
        (
            ["fine-tune", "lora", "--rank", "8", "--alpha", "16", "--model", "m", "--tokens", "5"],
            pb.Workload(
                paradigm=pb.ParadigmWorkload(
                    fine_tuning=pb.FineTuningParadigm(lora=pb.LoraMethod(rank=8, alpha=16)),
                    model="m",
                    tokens=5,
                )
            ),
        ),
        (
            [
                *("paradigm", "moe", "--experts", "4", "--layers", "2", "--hidden-size", "8"),
                *("--vocabulary-size", "99", "--tokens", "5", "--epochs", "2"),
                *("--batch-size", "3", "--sequence-length", "64", "--element-type", "float16"),
            ],
            pb.Workload(
                paradigm=pb.ParadigmWorkload(
                    moe=pb.MoeParadigm(experts=4),
                    shape=pb.ModelShape(layers=2, hidden_size=8, vocabulary_size=99),
                    tokens=5,
                    epochs=2,
                    batch_size=3,
                    sequence_length=64,
                    element_type=common_pb2.ELEMENT_TYPE_FLOAT16,
                )
            ),
        ),
    ],
)
def test_work_that_is_no_operation(
    server: FakeServer, run: Any, arguments: list[str], workload: pb.Workload
) -> None:
    answers(server)
    ran = run("estimate", *arguments)
    assert ran.code == 0, ran.err
    assert asked(server).workload == workload


def test_push_and_pull(server: FakeServer, run: Any) -> None:
    answers(server)
    assert run("estimate", "push", "m@1", "a/b", "--network", "1e6").code == 0
    request = asked(server)
    assert (request.workload.push.name, request.workload.push.repo) == ("m@1", "a/b")
    assert request.environment.network_bytes_per_second == 1e6
    server.requests.clear()
    assert run("estimate", "pull", "a/b@main", "--total-bytes", "1000").code == 0
    request = asked(server)
    assert request.workload.pull.source == common_pb2.HubSource(repo="a/b", revision="main")
    assert request.data.total_bytes == 1000


def test_every_option_reaches_the_request(server: FakeServer, run: Any) -> None:
    answer = pb.EstimateCostResponse(estimate=estimate(), recommendation=recommended())
    server.answer(ESTIMATE, answer)
    ran = run(
        *("estimate", "distill", "t", "--texts", "1000", "--tokens-per-text", "20", "--compare"),
        *("--dimensions", "64", "--device", "t4", "--price", "0.5", "--electricity-price", "0.3"),
        *("--pue", "1.2", "--region", "FRA", "--threads", "2", "--contention", "1.5"),
        *("--measure", "never", "--objective", "result-size", "--minimum-quality", "0.8"),
        *("--maximum-latency", "0.001", "--max-candidates", "5", "--budget-seconds", "600"),
        *("--budget-memory-bytes", "1000", "--budget-result-bytes", "2000"),
        *("--budget-money", "0.5"),
    )
    assert ran.code == 0, ran.err
    request = asked(server)
    budget = common_pb2.Budget(seconds=600, memory_bytes=1000, result_bytes=2000, money_usd=0.5)
    assert request == pb.EstimateCostRequest(
        workload=pb.Workload(
            distill=distillation.DistillRequest(
                teacher="t",
                static_tuned=distillation.StaticTunedRecipe(
                    static=distillation.StaticRecipe(dimensions=64)
                ),
                budget=budget,
                request_id=request.workload.distill.request_id,
            )
        ),
        data=pb.DataStatistics(texts=1000, tokens_per_text=20),
        environment=pb.CostEnvironment(
            device="t4",
            price_usd_per_hour=0.5,
            electricity_usd_per_kwh=0.3,
            pue=1.2,
            region="FRA",
            threads=2,
            contention=1.5,
        ),
        calibration=pb.CALIBRATION_POLICY_NEVER,
        recommend=pb.RecommendationOptions(
            budget=budget,
            minimum_quality=0.8,
            maximum_latency_seconds=0.001,
            objective=pb.RECOMMENDATION_OBJECTIVE_RESULT_SIZE,
            max_candidates=5,
        ),
    )


def test_training_data_that_are_not_there_yet(server: FakeServer, run: Any) -> None:
    answers(server)
    ran = run("estimate", "train", "--encoder", "mini", "--texts", "900", "--label-count", "77")
    assert ran.code == 0, ran.err
    request = asked(server)
    assert not request.workload.train_classifier.HasField("data")
    assert request.workload.train_classifier.encoder == "mini"
    assert request.data == pb.DataStatistics(texts=900, labels=77)
    assert run("estimate", "train", "--encoder", "mini").code == exits.USAGE


def test_files_are_looked_at_and_discarded(
    server: FakeServer, run: Any, received: list[bytes], tmp_path: Path
) -> None:
    answers(server)
    server.answer(DELETE_UPLOAD, uploads.DeleteUploadResponse())
    corpus, pairs, data = (tmp_path / name for name in ("c.txt", "sts.tsv", "data.csv"))
    corpus.write_text("one\ntwo\n")
    pairs.write_text("1\ta\tb\n")
    data.write_text("text,label\na,x\n")
    ran = run("estimate", "distill", "t", "--corpus", str(corpus), "--evaluate", f"sts={pairs}")
    assert ran.code == 0, ran.err
    assert received == [b"one\ntwo\n", b"1\ta\tb\n"]
    assert [r.name for r in server.requests if isinstance(r, uploads.DeleteUploadRequest)] == [
        "uploads/1",
        "uploads/2",
    ]
    assert DISTILL not in server.calls
    server.on(ESTIMATE, lambda r, context: fail(context, status(code_pb2.NOT_FOUND), again=False))
    ran = run("estimate", "train", "--encoder", "nobody", "--data", str(data))
    assert ran.code == exits.BY_CODE["NOT_FOUND"]
    assert server.requests[-1] == uploads.DeleteUploadRequest(name="uploads/3")


@pytest.mark.parametrize(
    "arguments",
    [
        ["estimate"],
        ["estimate", "magic"],
        ["estimate", "distill"],
        ["estimate", "embed", "m"],
        ["estimate", "embed", "m", "--texts", "many"],
        ["estimate", "embed", "m", "--texts", "9", "--measure", "sometimes"],
        ["estimate", "embed", "m", "--texts", "9", "--compare", "--objective", "beauty"],
        ["estimate", "fine-tune", "magic"],
        ["estimate", "fine-tune", "ia3", "--rank", "3"],
        ["estimate", "paradigm", "fine-tuning"],
        ["estimate", "distill", "t", "--recipe", "magic"],
        ["estimate", "distill", "t", "--corpus", "/nonexistent"],
        ["estimate", "--accuracy", "--since", "yesterday"],
    ],
)
def test_wrong_usage_asks_for_nothing(server: FakeServer, run: Any, arguments: list[str]) -> None:
    ran = run(*arguments)
    assert ran.code == exits.USAGE
    assert server.calls == []


def test_ways_are_compared(server: FakeServer, run: Any, tmp_path: Path) -> None:
    answer = pb.EstimateCostResponse(estimate=estimate(), recommendation=recommended())
    server.answer(ESTIMATE, answer)
    picture = tmp_path / "frontier.svg"
    ran = run("estimate", "distill", "t", "--svg", str(picture))
    assert ran.code == 0, ran.err
    for text in ("STATIC, 128", "cheapest", "13500 s at p90", "Mixture of Experts", "not_runnable"):
        assert text in ran.out, text
    assert "quality over money" in ran.out
    found = ElementTree.fromstring(picture.read_text())
    assert "STATIC, 256" in "".join(found.itertext())
    machine = json.loads(run("estimate", "distill", "t", "--compare", "--json").out)
    assert machine["recommendation"]["rejected"][1]["rejections"][0]["kind"] == "not_runnable"
    assert run("estimate", "distill", "t", "--svg", str(tmp_path / "no" / "x.svg")).code == 4


def test_when_nothing_fits(server: FakeServer, run: Any) -> None:
    message = recommended()
    del message.ranked[:]
    message.nearest_miss = 0
    server.answer(ESTIMATE, pb.EstimateCostResponse(estimate=estimate(), recommendation=message))
    ran = run("estimate", "distill", "t", "--compare")
    assert "keeps all limits; TRANSFORMER misses least" in ran.out


def test_points_of_a_plot() -> None:
    drawn = frontier.points(recommendation(recommended()))
    assert [point.mark for point in drawn.points] == ["1", "2", "3"]
    assert (drawn.in_money, drawn.missing) == (True, ("Mixture of Experts",))
    lines = frontier.text(drawn, width=40, height=8)
    rows = {mark: row for row, line in enumerate(lines[:8]) for mark in "123" if mark in line[9:]}
    assert rows["3"] < rows["2"] <= rows["1"]  # the better, the higher
    assert "3" in lines[0][9:][-1]  # the dearest at the right edge
    message = recommended()
    message.ranked[0].estimate.physical.total.money_usd.CopyFrom(unknown())
    in_time = frontier.points(recommendation(message))
    assert (in_time.in_money, len(in_time.points)) == (False, 3)


def test_a_limit_asks_for_a_comparison_where_the_work_has_no_budget(
    server: FakeServer, run: Any
) -> None:
    answer = pb.EstimateCostResponse(estimate=estimate(), recommendation=recommended())
    server.answer(ESTIMATE, answer)
    assert run("estimate", "embed", "m", "--texts", "9", "--budget-money", "2").code == 0
    assert asked(server).recommend.budget.money_usd == 2
    server.requests.clear()
    assert run("estimate", "distill", "t", "--budget-money", "2").code == 0
    assert not asked(server).HasField("recommend")
    assert asked(server).workload.distill.budget.money_usd == 2


@pytest.mark.parametrize("count", [0, 1])
def test_plots_of_few_points(count: int) -> None:
    message = recommended()
    del message.ranked[count:]
    del message.rejected[:]
    drawn = frontier.points(recommendation(message))
    assert len(drawn.points) == count
    assert bool(frontier.text(drawn)) == bool(count)
    ElementTree.fromstring(frontier.svg(drawn))


def test_the_line_of_a_plot_rises() -> None:
    message = recommended()
    worse = message.ranked.add()
    worse.CopyFrom(message.ranked[0])  # dearer and no better: on the frontier by its size alone
    worse.estimate.physical.total.money_usd.CopyFrom(figure(0.001, 0.0015, 0.002))
    page = frontier.svg(frontier.points(recommendation(message)))
    line = next(iter(ElementTree.fromstring(page).iter("{http://www.w3.org/2000/svg}polyline")))
    assert len(line.attrib["points"].split()) == 2


def test_plots_of_free_and_hostile_ways() -> None:
    message = recommended()
    message.ranked[0].estimate.physical.total.money_usd.CopyFrom(figure(0, 0, 0))
    message.ranked[1].estimate.title = '<script>"&'
    drawn = frontier.points(recommendation(message))
    assert len(drawn.points) == 3
    frontier.text(drawn)
    page = frontier.svg(drawn)
    assert "<script>" not in page
    ElementTree.fromstring(page)


def test_accuracy(server: FakeServer, run: Any) -> None:
    def behavior(request: pb.GetEstimateAccuracyRequest, context: Any) -> Any:
        answer = pb.GetEstimateAccuracyResponse(
            accuracies=[
                pb.EstimateAccuracy(
                    kind="distill",
                    figure="wall_seconds",
                    jobs=42,
                    median_absolute_log_ratio=0.1823,
                    median_log_ratio=-0.0953,
                    interval_coverage=0.81,
                    median_interval_ratio=1.9,
                    intervals=pb.IntervalBasis(from_ledger=True, ledger_jobs=42),
                )
            ]
        )
        for place in range(min(request.page_size, 3)):
            answer.entries.add(
                operation=f"operations/{place}",
                kind="distill",
                succeeded=True,
                estimate=estimate(),
                measured=pb.ResourceFigures(wall_seconds=figure(141, 141, 141)),
            )
        return answer

    server.on(ACCURACY, behavior)
    ran = run(
        "estimate", "--accuracy", "--kind", "distill", "--operation", "7", "--since", "2026-01-31"
    )
    assert ran.code == 0, ran.err
    for text in ("wall_seconds", "42", "1.20", "0.91", "81%", "1.90", "of these jobs"):
        assert text in ran.out, text
    request: Any = server.requests[-1]
    assert (request.kind, request.operation, request.page_size) == ("distill", "operations/7", 0)
    assert request.HasField("start_time")
    jobs = run("estimate", "--accuracy", "--entries", "2")
    assert "2 min 21 s" in jobs.out
    assert "operations/1" in jobs.out
    assert "operations/2" not in jobs.out
    machine = json.loads(run("estimate", "--accuracy", "--json").out)
    assert machine["accuracies"][0]["jobs"] == 42
    server.answer(ACCURACY, pb.GetEstimateAccuracyResponse())
    assert "nothing with an estimate has run" in run("estimate", "--accuracy").err


def test_devices(server: FakeServer, run: Any) -> None:
    h100 = pb.CostDevice(name="devices/h100-sxm", display_name="NVIDIA H100 SXM")
    h100.memory_bytes.add(value=80e9, source="vendor", source_date="2026-01-05")
    for format_, value, sparse in ((4, 989e12, False), (5, 3958e12, True)):
        h100.peak_rates.add(format=format_, sparse=sparse).operations_per_second.value = value
    h100.price_usd_per_hour.add(value=6.88, source="catalog")
    host = pb.CostDevice(name="devices/host", in_host=True)
    region = pb.CostRegion(name="FRA", display_name="France")
    region.carbon_intensity_grams_per_kwh.add(value=56, source="codecarbon")
    server.answer(
        DEVICES,
        pb.ListDevicesResponse(
            devices=[host, h100], regions=[region], defaults=pb.CostEnvironment(pue=1.2)
        ),
    )
    ran = run("estimate", "devices")
    for text in ("h100-sxm", "80.0 GB", "bf16 989 T/s", "$6.88", "vendor 2026-01-05", "France"):
        assert text in ran.out, text
    assert "3958" not in ran.out  # a peak of sparse weights is no peak
    assert "unknown" in ran.out
    assert "pue" in ran.out
    assert json.loads(run("estimate", "devices", "--json").out)["regions"][0]["name"] == "FRA"


# ---- Before the work itself


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A terminal, on which everything is answered with no; the questions."""
    questions: list[str] = []

    def confirm(text: str, **settings: Any) -> None:
        questions.append(text)
        assert settings["abort"]
        raise agree.typer.Abort

    monkeypatch.setattr(agree.sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr("rich.console.Console.is_terminal", True)
    monkeypatch.setattr(agree.typer, "confirm", confirm)
    return questions


def test_long_work_is_shown_before_it_starts(server: FakeServer, run: Any) -> None:
    finished(server)
    answers(server)
    ran = run("distill", "t", "--name", "s")
    assert ran.code == 0, ran.err
    assert "about 2 min 10 s (1 min 44 s to 3 min 15 s), 1.3 GB, 0.4 Wh" in ran.err
    assert server.calls.index(ESTIMATE) < server.calls.index(DISTILL)
    requests = [item for item in server.requests if isinstance(item, distillation.DistillRequest)]
    assert asked(server).workload.distill == requests[0]


def test_short_work_is_started_without_a_word(
    server: FakeServer, run: Any, terminal: list[str]
) -> None:
    finished(server)
    answers(server, estimate(seconds=40))  # 60 s, nine times in ten
    ran = run("distill", "t", "--name", "s")
    assert (ran.code, terminal) == (0, [])
    assert "about" not in ran.err


def test_whoever_declines_starts_nothing(
    server: FakeServer,
    run: Any,
    terminal: list[str],
    received: list[bytes],
    tmp_path: Path,
) -> None:
    answers(server)
    server.answer(DELETE_UPLOAD, uploads.DeleteUploadResponse())
    data = tmp_path / "data.csv"
    data.write_text("text,label\na,x\n")
    ran = run("train", "c", "--encoder", "mini", "--data", str(data))
    assert ran.code == exits.FAILURE
    assert terminal == ["Start it?"]
    assert TRAIN not in server.calls
    assert server.requests[-1] == uploads.DeleteUploadRequest(name="uploads/1")


@pytest.mark.parametrize("arguments", [["--yes"], ["-y"], ["--json"]])
def test_nobody_is_asked_who_said_so(
    server: FakeServer, run: Any, terminal: list[str], arguments: list[str]
) -> None:
    finished(server)
    answers(server)
    assert run("distill", "t", "--name", "s", *arguments).code == 0
    assert terminal == []
    assert (ESTIMATE in server.calls) == ("--json" not in arguments)


@pytest.mark.parametrize("code", ["UNIMPLEMENTED", "INTERNAL"])
def test_work_starts_where_nothing_can_be_estimated(
    server: FakeServer, run: Any, code: str
) -> None:
    finished(server)
    refusal = status(getattr(code_pb2, code), "cannot say")
    server.on(ESTIMATE, lambda r, context: fail(context, refusal, again=False))
    ran = run("distill", "t", "--name", "s")
    assert ran.code == 0, ran.err
    assert ("no estimate: cannot say" in ran.err) == (code == "INTERNAL")


def test_unknown_time_is_not_long(server: FakeServer, run: Any, terminal: list[str]) -> None:
    finished(server)
    answers(server, pb.CostEstimate())
    assert run("distill", "t", "--name", "s").code == 0
    assert terminal == []


def test_nobody_is_asked_about_what_will_be_refused(
    server: FakeServer, run: Any, terminal: list[str]
) -> None:
    answers(server, refused())
    server.on(DISTILL, lambda request, context: fail(context, over_budget()))
    assert run("distill", "t", "--name", "s", "--budget-seconds", "60").code == 4
    assert terminal == []
    message = refused()
    message.budget_check.verdict = pb.VERDICT_KEPT
    answers(server, message)
    assert run("distill", "t", "--name", "s", "--budget-seconds", "600").code == exits.FAILURE
    assert terminal == ["Start it?"]


def test_a_refusal_shows_the_estimate(server: FakeServer, run: Any) -> None:
    server.on(DISTILL, lambda request, context: fail(context, over_budget()))
    ran = run("distill", "t", "--name", "s", "--budget-seconds", "60", "--budget-money", "1")
    assert ran.code == exits.BY_CODE["FAILED_PRECONDITION"]
    assert "error: too long" in ran.err
    for text in ("seconds", "2 min 10 s", "3 min 15 s", "exceeded, 3.25 times", "unknown"):
        assert text in ran.err, text
    request: Any = server.requests[-1]
    assert request.budget == common_pb2.Budget(seconds=60, money_usd=1)
    machine = run("distill", "t", "--name", "s", "--json")
    error = json.loads(machine.err)["error"]
    assert error["estimate"]["budget_check"]["limits"][0]["ratio"] == 3.25


def packed(message: pb.CostEstimate) -> any_pb2.Any:
    result = any_pb2.Any()
    result.Pack(message)
    return result


def test_what_is_only_validated_shows_the_estimate(
    server: FakeServer, run: Any, tmp_path: Path, received: list[bytes]
) -> None:
    response = distillation.DistillResponse(estimate=packed(estimate()))
    done = operation(operations.OPERATION_STATE_SUCCEEDED, response=response, name="")
    server.answer(DISTILL, done)
    ran = run("distill", "t", "--name", "s", "--validate-only")
    assert ran.code == 0, ran.err
    assert ESTIMATE not in server.calls
    assert "everything checks out" in ran.out
    assert "2 min 10 s" in ran.out
    trained = classification.TrainClassifierResponse(estimate=packed(estimate("LINEAR")))
    done = operation(operations.OPERATION_STATE_SUCCEEDED, response=trained, name="")
    server.answer(TRAIN, done)
    data = tmp_path / "data.csv"
    data.write_text("text,label\na,x\n")
    ran = run("train", "c", "--encoder", "m", "--data", str(data), "--validate-only")
    assert "LINEAR" in ran.out
    assert "2 min 10 s" in ran.out
