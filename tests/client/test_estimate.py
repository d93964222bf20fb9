"""Estimates from Python: what is asked, and what comes out."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import any_pb2
from google.rpc import code_pb2, status_pb2

from client.fake_server import TRAIN, FakeServer, PatientAsyncTransport, fail, status
from client.test_operations import DISTILL, NAME, operation
from stillroom import AsyncClient, Client, Operation, errors, workloads
from stillroom.costs import FIGURES, Estimate, Figure, estimate_of
from stillroom.v1 import classification_service_pb2 as classification
from stillroom.v1 import common_pb2
from stillroom.v1 import cost_service_pb2 as pb
from stillroom.v1 import distillation_service_pb2 as distillation
from stillroom.v1 import embedding_service_pb2 as embedding
from stillroom.v1 import model_service_pb2 as models

SERVICE = "stillroom.v1.CostService"
ESTIMATE = f"{SERVICE}/EstimateCost"
DEVICES = f"{SERVICE}/ListDevices"
ACCURACY = f"{SERVICE}/GetEstimateAccuracy"


def figure(low: float, middle: float, high: float, note: str = "") -> pb.CostFigure:
    """A calibrated figure."""
    basis = pb.COST_BASIS_CALIBRATED
    return pb.CostFigure(p10=low, p50=middle, p90=high, basis=basis, note=note)


def unknown(note: str = "") -> pb.CostFigure:
    """A figure without numbers."""
    return pb.CostFigure(basis=pb.COST_BASIS_UNKNOWN, note=note)


def estimate(
    title: str = "STATIC_TUNED, 256 dimensions",
    seconds: float = 130.0,
    *,
    quality: float = 0.94,
    dollars: float | None = 0.003,
    kind: str = "distill",
) -> pb.CostEstimate:
    """What a server answers; the range is from 0.8 to 1.5 times ``seconds``."""
    total = pb.ResourceFigures(
        flops=figure(1e12, 1.2e12, 1.5e12),
        memory_traffic_bytes=unknown("no counter"),
        cpu_seconds=figure(200, 240, 300),
        wall_seconds=figure(0.8 * seconds, seconds, 1.5 * seconds),
        peak_memory_bytes=figure(1.2e9, 1.3e9, 1.5e9),
        disk_bytes=figure(2e8, 2e8, 2e8),
        network_bytes=figure(0, 0, 0),
        energy_joules=figure(1200, 1440, 1800),
        co2e_grams=figure(0.15, 0.2, 0.24),
        money_usd=unknown("no price is set")
        if dollars is None
        else figure(0.8 * dollars, dollars, 1.5 * dollars),
    )
    encode = pb.PhaseEstimate(
        phase="encode",
        resources=pb.ResourceFigures(wall_seconds=figure(80, 100, 150)),
        limited_by="processor",
        units=figure(47_000, 47_000, 47_000),
        unit="texts",
    )
    return pb.CostEstimate(
        kind=kind,
        title=title,
        runnable=True,
        physical=pb.PhysicalEstimate(phases=[encode], total=total, device="devices/host"),
        outcome=pb.Outcome(
            result_bytes=figure(8e6, 8e6, 8e6),
            quality=figure(quality - 0.02, quality, quality + 0.02),
            latency_seconds=figure(5e-5, 7e-5, 1e-4),
        ),
    )


def recommended() -> pb.Recommendation:
    """Two that fit, one that is too dear, one that nobody here can run."""
    ranked = [
        pb.RecommendedCandidate(
            workload=pb.Workload(
                distill=distillation.DistillRequest(
                    teacher="t", name="s", static=distillation.StaticRecipe(dimensions=dimensions)
                )
            ),
            estimate=estimate(f"STATIC, {dimensions}", seconds, quality=quality, dollars=dollars),
            on_frontier=True,
            reason="cheapest",
        )
        for dimensions, seconds, quality, dollars in (
            (128, 20, 0.86, 0.001),
            (256, 22, 0.88, 0.002),
        )
    ]
    dear = pb.RecommendedCandidate(estimate=estimate("TRANSFORMER", 9000, quality=0.99, dollars=1))
    moe = pb.RecommendedCandidate(estimate=pb.CostEstimate(title="Mixture of Experts"))
    kinds = pb.REJECTION_KIND_OVER_LIMIT, pb.REJECTION_KIND_NOT_RUNNABLE
    messages = "13500 s at p90, limit 600 s", ""
    rejected = [
        pb.RejectedCandidate(
            candidate=candidate, rejections=[pb.Rejection(kind=kind, message=message)]
        )
        for candidate, kind, message in zip((dear, moe), kinds, messages, strict=True)
    ]
    return pb.Recommendation(
        ranked=ranked, rejected=rejected, objective=pb.RECOMMENDATION_OBJECTIVE_MONEY
    )


def test_an_operation_is_estimated_by_its_own_request(server: FakeServer, client: Client) -> None:
    server.answer(ESTIMATE, pb.EstimateCostResponse(estimate=estimate()))
    request = client.distill_request("t", "", dimensions=64, corpus=["one", "two"])
    found = client.estimate_cost(
        request,
        data={"texts": 9},
        environment={"region": "FRA", "pue": 1.1},
        calibration="never",
    )
    sent: Any = server.requests[-1]
    assert sent.workload.distill == request
    assert request.static_tuned.static.dimensions == 64
    assert sent.data == pb.DataStatistics(texts=9)
    assert sent.environment == pb.CostEnvironment(region="FRA", pue=1.1)
    assert sent.calibration == pb.CALIBRATION_POLICY_NEVER
    assert not sent.HasField("recommend")
    assert found.recommendation is None
    told = found.estimate
    assert (told.kind, told.title, told.runnable) == ("distill", estimate().title, True)
    assert told.seconds == Figure(104.0, 130.0, 195.0, "calibrated")
    assert told.figures.keys() == set(FIGURES)
    traffic = told.figures["memory_traffic_bytes"]
    assert (traffic.known, traffic.p50, traffic.note) == (False, None, "no counter")
    assert (told.quality.p50, told.result_bytes.p50) == (0.94, 8e6)
    assert [(phase.name, phase.limited_by) for phase in told.phases] == [("encode", "processor")]
    assert told.phases[0].figures["wall_seconds"].p50 == 100
    assert not told.phases[0].figures["flops"].known


@pytest.mark.parametrize("incomplete", [pb.CostFigure(), pb.CostFigure(p50=1, basis=2)])
def test_a_figure_is_whole_or_unknown(incomplete: pb.CostFigure) -> None:
    assert Figure.of(incomplete) == Figure(None, None, None, "unknown")


def test_the_estimate_of_a_response() -> None:
    response = distillation.DistillResponse()
    assert estimate_of(response) is None
    response.estimate.Pack(estimate())
    found = estimate_of(response)
    assert found is not None
    assert found.message == estimate()
    response.estimate.Pack(common_pb2.Budget())
    assert estimate_of(response) is None
    assert estimate_of(models.GetModelResponse()) is None


def test_what_was_never_said_is_unknown_rather_than_nothing() -> None:
    empty = Estimate(pb.CostEstimate())
    assert not any(found.known for found in empty.figures.values())
    assert not empty.seconds.known
    assert "unknown" in repr(empty)


@pytest.mark.parametrize(
    ("work", "kind"),
    [
        (workloads.embed("m", 1000, tokens_per_text=12.5), "embed"),
        (workloads.serve("m", 5, peak_texts_per_second=9), "serve"),
        (workloads.push("m@1", "a/b"), "push"),
        (workloads.pull("a/b", revision="main"), "pull"),
        (workloads.paradigm("moe", experts=4), "paradigm"),
        (classification.TrainClassifierRequest(encoder="m"), "train_classifier"),
        (pb.Workload(embed=pb.EmbedWorkload(model="m")), "embed"),
    ],
)
def test_every_kind_of_work(server: FakeServer, client: Client, work: Any, kind: str) -> None:
    server.answer(ESTIMATE, pb.EstimateCostResponse(estimate=estimate()))
    client.estimate_cost(work)
    sent: Any = server.requests[-1]
    assert sent.workload.WhichOneof("kind") == kind
    assert work in (sent.workload, getattr(sent.workload, kind))


def test_workloads_say_what_they_are_given() -> None:
    options = embedding.EmbedOptions(dimensions=64)
    assert workloads.embed("m", 3, texts_per_request=8, options=options) == pb.EmbedWorkload(
        model="m", texts=3, texts_per_request=8, options=options
    )
    assert workloads.serve("m", 2.5, duration_seconds=60) == pb.ServeWorkload(
        model="m", texts_per_second=2.5, duration_seconds=60
    )
    assert workloads.pull("a/b", "n") == models.PullModelRequest(
        source=common_pb2.HubSource(repo="a/b"), name="n"
    )
    shape = {"layers": 6, "hidden_size": 384, "vocabulary_size": 30_000}
    assert workloads.paradigm(
        "Fine-Tuning",
        method="qlora",
        rank=8,
        bits=4,
        shape=shape,
        tokens=100,
        element_type="float16",
    ) == pb.ParadigmWorkload(
        fine_tuning=pb.FineTuningParadigm(qlora=pb.QloraMethod(rank=8, bits=4)),
        shape=pb.ModelShape(**shape),
        tokens=100,
        element_type=common_pb2.ELEMENT_TYPE_FLOAT16,
    )
    assert workloads.paradigm("distillation", teacher="t") == pb.ParadigmWorkload(
        distillation=pb.DistillationParadigm(teacher="t")
    )


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"paradigm": "magic"}, "paradigm"),
        ({"paradigm": "fine_tuning"}, "method"),
        ({"paradigm": "fine_tuning", "method": "magic"}, "method"),
        ({"paradigm": "moe", "method": "lora"}, "method"),
        ({"paradigm": "moe", "members": 3}, "members"),
        ({"paradigm": "moe", "teacher": "t"}, "teacher"),
        ({"paradigm": "distillation", "rank": 3}, "rank"),
        ({"paradigm": "fine_tuning", "method": "lora", "bits": 4}, "bits"),
        ({"paradigm": "fine_tuning", "method": "lora", "rank": 2**40}, "rank"),
        ({"paradigm": "moe", "model": "m", "shape": {"layers": 1}}, "shape"),
        ({"paradigm": "moe", "shape": {"height": 1}}, "shape"),
        ({"paradigm": "moe", "element_type": "float12"}, "element_type"),
    ],
)
def test_workloads_refuse_what_they_do_not_have(arguments: dict[str, Any], field: str) -> None:
    with pytest.raises(errors.InvalidArgument) as caught:
        workloads.paradigm(**arguments)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"work": pb.ListDevicesRequest()}, "work"),
        ({"work": "distill"}, "work"),
        ({"data": {"words": 3}}, "data"),
        ({"environment": {"planet": "mars"}}, "environment"),
        ({"calibration": "sometimes"}, "calibration"),
        ({"recommend": {"objective": "beauty"}}, "objective"),
        ({"recommend": {"budget": {"euros": 3}}}, "budget"),
        ({"recommend": {"color": "red"}}, "recommend"),
    ],
)
def test_wrong_arguments_ask_for_nothing(
    server: FakeServer, client: Client, arguments: dict[str, Any], field: str
) -> None:
    with pytest.raises(errors.InvalidArgument) as caught:
        client.estimate_cost(**{"work": pb.Workload(), **arguments})
    assert caught.value.field == field
    assert server.calls == []


def test_a_recommendation_can_be_started(server: FakeServer, client: Client) -> None:
    answer = pb.EstimateCostResponse(estimate=estimate(), recommendation=recommended())
    server.answer(ESTIMATE, answer)
    limits = {"seconds": 600, "money_usd": 0.5}
    found = client.estimate_cost(
        client.distill_request("t", "s"),
        recommend={"budget": limits, "objective": "money", "maximum_latency_seconds": 0.001},
    ).recommendation
    sent: Any = server.requests[-1]
    assert sent.recommend == pb.RecommendationOptions(
        budget=common_pb2.Budget(**limits),
        objective=pb.RECOMMENDATION_OBJECTIVE_MONEY,
        maximum_latency_seconds=0.001,
    )
    assert found is not None
    assert found.objective == "money"
    assert [item.estimate.title for item in found.ranked] == ["STATIC, 128", "STATIC, 256"]
    assert [item.reasons for item in found.rejected] == [
        ("13500 s at p90, limit 600 s",),
        ("not_runnable",),
    ]
    assert found.nearest_miss is None
    server.answer(DISTILL, operation())
    started = client.start(found.ranked[1].request)
    assert isinstance(started, Operation)
    assert started.name == NAME
    asked: Any = server.requests[-1]
    assert (asked.static.dimensions, bool(asked.request_id)) == (256, True)
    assert not found.ranked[1].request.request_id  # type: ignore[attr-defined]  # as it was


def test_the_nearest_miss() -> None:
    from stillroom.costs import recommendation

    message = recommended()
    del message.ranked[:]
    message.nearest_miss = 0
    nearest = recommendation(message).nearest_miss
    assert nearest is not None
    assert nearest.candidate.estimate.title == "TRANSFORMER"
    message.nearest_miss = 7  # beyond the list: no honest server says so
    assert recommendation(message).nearest_miss is None


def test_recommend_true_leaves_everything_to_the_server(server: FakeServer, client: Client) -> None:
    server.answer(ESTIMATE, pb.EstimateCostResponse(estimate=estimate()))
    client.estimate_cost(workloads.embed("m", 1), recommend=True)
    sent: Any = server.requests[-1]
    assert sent.HasField("recommend")
    assert sent.recommend == pb.RecommendationOptions()


def test_requests_are_what_the_methods_send(
    server: FakeServer, client: Client, received: list[bytes], tmp_path: Path
) -> None:
    file = tmp_path / "data.csv"
    file.write_text("text,label\na,x\n")
    arguments: dict[str, Any] = {"head": "linear", "budget": {"money_usd": 2}, "request_id": "r"}
    request = client.train_request("c", "mini", file, **arguments)
    assert received == [file.read_bytes()]
    assert TRAIN not in server.calls
    client.start(request)
    sent = server.requests[-1]
    client.train_classifier("c", "mini", file, **arguments)
    again: Any = server.requests[-1]
    again.data.upload = "uploads/1"
    assert sent == again == request
    assert client.distill.__doc__ != client.distill_request.__doc__


def test_what_starts_nothing_is_refused(server: FakeServer, client: Client) -> None:
    for request in (pb.EmbedWorkload(), models.GetModelRequest(), models.UpdateModelRequest()):
        with pytest.raises(errors.InvalidArgument) as caught:
            client.start(request)
        assert caught.value.field == "request"
    assert server.calls == []


def over_budget() -> status_pb2.Status:
    """As a server refuses work that would exceed its budget."""
    refusal = status(code_pb2.FAILED_PRECONDITION, "too long", reason="BUDGET_EXCEEDED")
    packed = any_pb2.Any()
    packed.Pack(refused())
    refusal.details.append(packed)
    return refusal


def refused() -> pb.CostEstimate:
    """The estimate in the refusal."""
    message = estimate()
    del message.physical.phases[:]
    check = message.budget_check
    check.verdict = pb.VERDICT_EXCEEDED
    check.limits.add(
        limit="seconds",
        value=60,
        estimate=figure(104, 130, 195),
        verdict=pb.VERDICT_EXCEEDED,
        ratio=3.25,
    )
    check.limits.add(limit="money_usd", value=1, estimate=unknown(), verdict=pb.VERDICT_UNKNOWN)
    return message


def test_a_budget_that_is_exceeded_comes_with_the_estimate(
    server: FakeServer, client: Client
) -> None:
    server.on(DISTILL, lambda request, context: fail(context, over_budget()))
    with pytest.raises(errors.BudgetExceeded, match="too long") as caught:
        client.distill("t", "s", budget={"seconds": 60})
    assert isinstance(caught.value, errors.FailedPrecondition)
    assert caught.value.estimate == refused()
    again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - our own
    assert (type(again), again.estimate) == (errors.BudgetExceeded, refused())
    bare = status(code_pb2.FAILED_PRECONDITION, "too long", reason="BUDGET_EXCEEDED")
    error = errors.from_status(bare)
    assert isinstance(error, errors.BudgetExceeded)
    assert error.estimate is None


def test_devices_are_gathered_from_all_pages(server: FakeServer, client: Client) -> None:
    region = pb.CostRegion(name="FRA")

    def behavior(request: pb.ListDevicesRequest, context: Any) -> pb.ListDevicesResponse:
        if request.page_token:
            return pb.ListDevicesResponse(devices=[pb.CostDevice(name="devices/t4")])
        return pb.ListDevicesResponse(
            devices=[pb.CostDevice(name="devices/host")],
            next_page_token="2",
            regions=[region],
            defaults=pb.CostEnvironment(pue=1.2),
        )

    server.on(DEVICES, behavior)
    found = client.list_devices()
    assert [device.name for device in found.devices] == ["devices/host", "devices/t4"]
    assert (found.regions, found.defaults.pue) == ((region,), 1.2)


def test_accuracy_and_ledger(server: FakeServer, client: Client) -> None:
    def behavior(request: pb.GetEstimateAccuracyRequest, context: Any) -> Any:
        assert (request.kind, request.start_time.seconds) == ("distill", 1_900_000_000)
        answer = pb.GetEstimateAccuracyResponse(accuracies=[pb.EstimateAccuracy(jobs=4)])
        if request.page_size:
            answer.entries.add(operation=request.page_token or "first")
            answer.next_page_token = "" if request.page_token else "second"
        return answer

    server.on(ACCURACY, behavior)
    chosen: dict[str, Any] = {
        "kind": "distill",
        "since": datetime.fromtimestamp(1_900_000_000, UTC),
    }
    assert [item.jobs for item in client.estimate_accuracy(**chosen)] == [4]
    entries = list(client.estimate_ledger(**chosen))
    assert [entry.operation for entry in entries] == ["first", "second"]
    with pytest.raises(errors.InvalidArgument, match="time zone"):
        client.estimate_accuracy(since=datetime(2026, 1, 1))


async def test_the_same_with_asyncio(server: FakeServer) -> None:
    answer = pb.EstimateCostResponse(estimate=estimate(), recommendation=recommended())
    server.answer(ESTIMATE, answer)
    server.answer(DISTILL, operation())
    async with AsyncClient(transport=PatientAsyncTransport(server.target)) as client:
        request = await client.distill_request("t", "s")
        found = await client.estimate_cost(request, recommend=True)
        assert found.recommendation is not None
        started = await client.start(found.recommendation.ranked[0].request)
        assert started.name == NAME
