"""CostService over gRPC: what it answers, what it refuses, and that it changes nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.longrunning import operations_pb2, operations_pb2_grpc
from google.protobuf import timestamp_pb2
from inference.students import wordpiece, write_student
from serving import Details, Serving, serving

from rpc.classifiers import write_classifier
from rpc.estimating import write_teacher
from stillroom.v1 import (
    classification_service_pb2,
    common_pb2,
    embedding_service_pb2,
    model_pb2,
    model_service_pb2,
    model_service_pb2_grpc,
    server_service_pb2,
    server_service_pb2_grpc,
)
from stillroom.v1 import cost_service_pb2 as pb
from stillroom.v1 import cost_service_pb2_grpc as stubs
from stillroom.v1 import distillation_service_pb2 as distillation
from stillroom.v1 import distillation_service_pb2_grpc as distillation_stubs
from stillroom.v1 import operation_service_pb2 as operations
from stillroom_registry.registry import Registry
from stillroom_registry.values import ModelKind

NEVER = pb.CALIBRATION_POLICY_NEVER
FIGURES = [field.name for field in pb.ResourceFigures.DESCRIPTOR.fields]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that requests may read: a corpus of 300 texts, 90 labeled ones, models."""
    root = tmp_path_factory.mktemp("root")
    texts = (f"the card number {number} has not arrived\n" for number in range(300))
    (root / "c.txt").write_text("".join(texts))
    rows = (f"text {number},l{number % 3}\n" for number in range(90))
    (root / "d.csv").write_text("".join(["text,label\n", *rows]))
    return root


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Path:
    """A data directory with a student ``s``, a teacher ``t`` of 64 dimensions and 32 tokens, and a
    classifier ``c``."""
    data = tmp_path_factory.mktemp("data")
    publish(root, data)
    return data


@pytest.fixture(scope="module")
def server(root: Path, data: Path) -> Iterator[Serving]:
    """It has a price and a region."""
    settings = {"max_texts": 64, "cost_price_usd_per_hour": 0.36, "cost_region": "FRA"}
    with serving(data, allow_root=[root], **settings) as running:
        yield running


def publish(root: Path, data: Path) -> None:
    teacher = root / "teacher"
    teacher.mkdir()
    write_teacher(teacher)
    (teacher / "tokenizer.json").write_text(wordpiece())
    registry = Registry.open(data)
    registry.publish("s", ModelKind.STUDENT, write_student(root / "student"))
    registry.publish("t", ModelKind.TEACHER, teacher)
    registry.publish("c", ModelKind.CLASSIFIER, write_classifier(root / "classifier"))
    registry.close()


def ask(server: Serving, **fields: Any) -> pb.EstimateCostResponse:
    given = {"calibration": NEVER, **fields}
    return stubs.CostServiceStub(server.channel).EstimateCost(
        pb.EstimateCostRequest(**given), timeout=30
    )


def estimated(server: Serving, **fields: Any) -> pb.CostEstimate:
    return ask(server, **fields).estimate


def refused(server: Serving, **fields: Any) -> Details:
    with pytest.raises(grpc.RpcError) as caught:
        ask(server, **fields)
    return Details(caught.value)


def embed(**fields: Any) -> pb.Workload:
    return pb.Workload(embed=pb.EmbedWorkload(**{"model": "s", "texts": 1000, **fields}))


def serve(**fields: Any) -> pb.Workload:
    return pb.Workload(serve=pb.ServeWorkload(**{"model": "s", "texts_per_second": 5, **fields}))


def distill(**fields: Any) -> pb.Workload:
    given = {"teacher": "t", **fields}
    return pb.Workload(distill=distillation.DistillRequest(**given))


def train(**fields: Any) -> pb.Workload:
    given = {"encoder": "s", **fields}
    return pb.Workload(train_classifier=classification_service_pb2.TrainClassifierRequest(**given))


def tuning(**method: Any) -> pb.Workload:
    tuned = pb.FineTuningParadigm(**method)
    return pb.Workload(paradigm=pb.ParadigmWorkload(fine_tuning=tuned))


def corpus(root: Path) -> common_pb2.Corpus:
    return common_pb2.Corpus(path=str(root / "c.txt"))


# What it answers


@pytest.mark.parametrize(
    ("workload", "kind"),
    [
        (embed(), "embed"),
        (embed(model="t"), "embed"),
        (embed(model="c"), "classify"),
        (serve(), "serve"),
        (distill(static=distillation.StaticRecipe()), "distill"),
    ],
)
def test_every_figure_is_there_and_in_order(
    server: Serving, workload: pb.Workload, kind: str
) -> None:
    found = estimated(server, workload=workload)
    assert (found.kind, found.runnable) == (kind, True)
    assert found.title
    assert found.HasField("estimate_time")
    assert found.physical.device == "devices/host"
    for each in (found.physical.total, *(phase.resources for phase in found.physical.phases)):
        for name in FIGURES:
            figure = getattr(each, name)
            assert figure.basis != pb.COST_BASIS_UNSPECIFIED
            if figure.basis == pb.COST_BASIS_UNKNOWN:
                assert not figure.HasField("p50")
            else:
                assert 0 <= figure.p10 <= figure.p50 <= figure.p90
    assert found.physical.total.wall_seconds.p50 > 0
    assert found.memory_fit.verdict != pb.VERDICT_UNSPECIFIED


def test_a_corpus_is_looked_at(server: Serving, root: Path) -> None:
    tuned = distillation.StaticTunedRecipe()
    found = estimated(server, workload=distill(static_tuned=tuned, corpus=corpus(root)))
    told = {each.name: each for each in found.physical.assumptions}
    assert "300" in told["texts"].value
    assert told["texts"].source == pb.COST_ASSUMPTION_SOURCE_DATA
    assert told["tokens_per_text"].source == pb.COST_ASSUMPTION_SOURCE_DATA
    assert found.table.paradigm == pb.PARADIGM_DISTILLATION


def test_data_may_be_described_that_are_not_there_yet(server: Serving) -> None:
    described = pb.DataStatistics(texts=5000, tokens_per_text=12)
    tuned = distillation.StaticTunedRecipe()
    missing = refused(server, workload=distill(static_tuned=tuned))
    assert (missing.info.reason, missing.field) == ("CORPUS_REQUIRED", "workload.distill.corpus")
    some = estimated(server, workload=distill(static_tuned=tuned), data=described)
    gone = common_pb2.Corpus(upload="uploads/0123456789abcdef0123456789abcdef")
    same = estimated(server, workload=distill(static_tuned=tuned, corpus=gone), data=described)
    assert same.physical.total.wall_seconds.p50 > 0
    told = {each.name: each for each in some.physical.assumptions}
    assert told["texts"].source == pb.COST_ASSUMPTION_SOURCE_REQUEST
    labeled = pb.DataStatistics(texts=900, tokens_per_text=9, labels=7)
    assert estimated(server, workload=train(), data=labeled).kind == "train_classifier"


def test_labeled_texts_are_looked_at(server: Serving, root: Path) -> None:
    data = classification_service_pb2.LabeledData(path=str(root / "d.csv"))
    found = estimated(server, workload=train(data=data))
    told = {each.name: each.value for each in found.physical.assumptions}
    assert "90" in told["texts"]


def test_a_price_and_a_region_give_money_and_carbon(server: Serving) -> None:
    total = estimated(server, workload=embed()).physical.total
    assert total.money_usd.p50 == pytest.approx(total.wall_seconds.p50 / 3600 * 0.36, rel=0.2)
    assert total.co2e_grams.p50 > 0
    environment = pb.CostEnvironment(price_usd_per_hour=0.72)
    twice = estimated(server, workload=embed(), environment=environment).physical.total
    assert twice.money_usd.p50 == pytest.approx(2 * total.money_usd.p50, rel=0.3)


def test_another_device(server: Serving) -> None:
    environment = pb.CostEnvironment(device="devices/h100-sxm")
    found = estimated(server, workload=embed(model="t"), environment=environment)
    assert found.physical.device == "devices/h100-sxm"
    assert found.physical.total.wall_seconds.basis in (pb.COST_BASIS_SPEC, pb.COST_BASIS_UNKNOWN)


def test_a_budget_is_compared_and_the_estimate_answered_all_the_same(server: Serving) -> None:
    budget = common_pb2.Budget(seconds=1e-6)
    recipe = distillation.StaticRecipe()
    found = estimated(server, workload=distill(static=recipe, budget=budget))
    assert found.budget_check.verdict == pb.VERDICT_EXCEEDED
    wide = common_pb2.Budget(seconds=1e6)
    found = estimated(server, workload=distill(static=recipe, budget=wide))
    assert found.budget_check.verdict == pb.VERDICT_KEPT
    assert not estimated(server, workload=distill(static=recipe)).HasField("budget_check")


def test_a_paradigm_without_a_model_has_its_table_alone(server: Serving) -> None:
    found = estimated(server, workload=tuning(lora=pb.LoraMethod(rank=64, alpha=64)))
    assert found.kind == "paradigm"
    assert not found.HasField("physical")
    assert found.table.display_name == "Fine-tuning (LoRA(r=64, \N{GREEK SMALL LETTER ALPHA}=64))"
    assert not found.runnable
    assert found.not_runnable_reason


def test_a_paradigm_with_a_shape_has_phases_too(server: Serving) -> None:
    shape = pb.ModelShape(layers=6, hidden_size=384, vocabulary_size=30_000, max_tokens=512)
    paradigm = pb.ParadigmWorkload(
        deep_learning=pb.DeepLearningParadigm(), shape=shape, tokens=1_000_000
    )
    found = estimated(server, workload=pb.Workload(paradigm=paradigm))
    assert found.physical.total.flops.p50 > 6 * 1e6 * 384


def test_nothing_is_started_or_changed(server: Serving, root: Path, data: Path) -> None:
    def state() -> Any:
        models = model_service_pb2_grpc.ModelServiceStub(server.channel)
        listed = models.ListModels(model_service_pb2.ListModelsRequest(), timeout=20)
        running = operations_pb2_grpc.OperationsStub(server.channel)
        queued = running.ListOperations(operations_pb2.ListOperationsRequest(), timeout=20)
        info = server_service_pb2_grpc.ServerServiceStub(server.channel)
        loaded = info.GetServerInfo(server_service_pb2.GetServerInfoRequest(), timeout=20)
        return listed, queued, loaded.loaded_models, list((data / "uploads").iterdir())

    before = state()
    workload = distill(corpus=corpus(root), teacher="t")
    ask(server, workload=workload, recommend=pb.RecommendationOptions())
    estimated(server, workload=embed(model="t"))
    assert state() == before


# What it recommends


def test_what_can_be_run_is_ranked_and_the_rest_has_reasons(server: Serving, root: Path) -> None:
    options = pb.RecommendationOptions(budget=common_pb2.Budget(seconds=1e6), max_candidates=5)
    workload = distill(corpus=corpus(root), name="mini")
    found = ask(server, workload=workload, recommend=options).recommendation
    assert 0 < len(found.ranked) <= 5
    for each in found.ranked:
        assert each.estimate.runnable
        assert each.workload.distill.name == "mini"
        assert each.reason
    assert found.objective == pb.RECOMMENDATION_OBJECTIVE_MONEY  # as there is a price
    rejected = [each for each in found.rejected if each.candidate.workload.HasField("paradigm")]
    assert rejected
    for each in rejected:
        kinds = {rejection.kind for rejection in each.rejections}
        assert kinds == {pb.REJECTION_KIND_NOT_RUNNABLE}


def test_what_is_recommended_can_be_sent_as_it_is(server: Serving, root: Path) -> None:
    workload = distill(corpus=corpus(root), name="mini")
    options = pb.RecommendationOptions(max_candidates=100)
    stub = distillation_stubs.DistillationServiceStub(server.channel)
    ranked = ask(server, workload=workload, recommend=options).recommendation.ranked
    recipes = set()
    for each in ranked:
        request = each.workload.distill
        request.validate_only = True
        assert stub.Distill(request, timeout=30).done
        recipes.add(request.WhichOneof("recipe"))
    assert {"static", "static_tuned"} <= recipes


def test_if_nothing_fits_the_nearest_miss_is_named(server: Serving) -> None:
    options = pb.RecommendationOptions(budget=common_pb2.Budget(seconds=1e-6))
    found = ask(server, workload=distill(), recommend=options).recommendation
    assert not found.ranked
    nearest = found.rejected[found.nearest_miss]
    assert nearest.rejections[0].kind == pb.REJECTION_KIND_OVER_LIMIT
    assert nearest.rejections[0].limit.ratio > 1


def test_a_recommendation_does_not_repeat_a_huge_request(server: Serving) -> None:
    texts = common_pb2.InlineTexts(values=["word " * 10] * 1000)
    details = refused(
        server,
        workload=distill(corpus=common_pb2.Corpus(texts=texts)),
        recommend=pb.RecommendationOptions(),
    )
    assert (details.info.reason, details.field) == ("REQUEST_TOO_LARGE", "workload")


# What it refuses

SHAPE = pb.ModelShape(layers=1, hidden_size=8, vocabulary_size=100)


@pytest.mark.parametrize(
    ("workload", "code", "field"),
    [
        (pb.Workload(), "INVALID_ARGUMENT", "workload"),
        (embed(model=""), "INVALID_ARGUMENT", "workload.embed.model"),
        (embed(model="none"), "NOT_FOUND", "workload.embed.model"),
        (embed(model="s@9"), "NOT_FOUND", "workload.embed.model"),
        (embed(texts=0), "INVALID_ARGUMENT", "workload.embed.texts"),
        (embed(texts=-5), "INVALID_ARGUMENT", "workload.embed.texts"),
        (embed(tokens_per_text=math.nan), "INVALID_ARGUMENT", "workload.embed.tokens_per_text"),
        (embed(tokens_per_text=-1), "INVALID_ARGUMENT", "workload.embed.tokens_per_text"),
        (embed(texts_per_request=65), "INVALID_ARGUMENT", "workload.embed.texts_per_request"),
        (
            embed(options=embedding_service_pb2.EmbedOptions(dimensions=999)),
            *("INVALID_ARGUMENT", "workload.embed.options.dimensions"),
        ),
        (
            embed(options=embedding_service_pb2.EmbedOptions(prompt_name="none")),
            *("INVALID_ARGUMENT", "workload.embed.options.prompt_name"),
        ),
        (
            embed(model="c", options=embedding_service_pb2.EmbedOptions(dimensions=4)),
            *("INVALID_ARGUMENT", "workload.embed.options"),
        ),
        (serve(texts_per_second=0), "INVALID_ARGUMENT", "workload.serve.texts_per_second"),
        (
            serve(peak_texts_per_second=1),
            *("INVALID_ARGUMENT", "workload.serve.peak_texts_per_second"),
        ),
        (serve(duration_seconds=-1), "INVALID_ARGUMENT", "workload.serve.duration_seconds"),
        (distill(teacher="none"), "NOT_FOUND", "workload.distill.teacher"),
        (distill(teacher="s"), "FAILED_PRECONDITION", "workload.distill.teacher"),
        (
            distill(static=distillation.StaticRecipe(dimensions=-1)),
            *("INVALID_ARGUMENT", "workload.distill.static.dimensions"),
        ),
        (
            distill(static=distillation.StaticRecipe(dimensions=65)),
            *("INVALID_ARGUMENT", "workload.distill.static.dimensions"),
        ),
        (
            distill(budget=common_pb2.Budget(seconds=0)),
            *("INVALID_ARGUMENT", "workload.distill.budget.seconds"),
        ),
        (
            distill(corpus=common_pb2.Corpus(path="/etc/passwd")),
            *("PERMISSION_DENIED", "workload.distill.corpus.path"),
        ),
        (distill(name="Not A Name"), "INVALID_ARGUMENT", "workload.distill.name"),
        (distill(name="c"), "FAILED_PRECONDITION", "workload.distill.name"),
        (train(), "INVALID_ARGUMENT", "workload.train_classifier.data"),
        (train(encoder="c"), "FAILED_PRECONDITION", "workload.train_classifier.encoder"),
        (
            tuning(lora=pb.LoraMethod(rank=0)),
            *("INVALID_ARGUMENT", "workload.paradigm.fine_tuning.lora.rank"),
        ),
        (
            tuning(lora=pb.LoraMethod(rank=8, alpha=math.nan)),
            *("INVALID_ARGUMENT", "workload.paradigm.fine_tuning.lora.alpha"),
        ),
        (
            tuning(qlora=pb.QloraMethod(rank=8, bits=33)),
            *("INVALID_ARGUMENT", "workload.paradigm.fine_tuning.qlora.bits"),
        ),
        (tuning(), "INVALID_ARGUMENT", "workload.paradigm.fine_tuning"),
        (
            pb.Workload(paradigm=pb.ParadigmWorkload(shape=SHAPE)),
            *("INVALID_ARGUMENT", "workload.paradigm.tokens"),
        ),
        (
            pb.Workload(paradigm=pb.ParadigmWorkload(shape=pb.ModelShape(), tokens=1)),
            *("INVALID_ARGUMENT", "workload.paradigm.shape.hidden_size"),
        ),
        (
            pb.Workload(paradigm=pb.ParadigmWorkload(model="none", tokens=1)),
            *("NOT_FOUND", "workload.paradigm.model"),
        ),
    ],
)
def test_bad_workloads_name_their_field(
    server: Serving, workload: pb.Workload, code: str, field: str
) -> None:
    details = refused(server, workload=workload)
    assert (details.code.name, details.field) == (code, field)


@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        ({"environment": {"device": "devices/none"}}, "NOT_FOUND", "environment.device"),
        ({"environment": {"region": "ATLANTIS"}}, "NOT_FOUND", "environment.region"),
        ({"environment": {"pue": 0.5}}, "INVALID_ARGUMENT", "environment.pue"),
        ({"environment": {"threads": 100_000}}, "INVALID_ARGUMENT", "environment.threads"),
        ({"environment": {"threads": -1}}, "INVALID_ARGUMENT", "environment.threads"),
        (
            {"environment": {"region": "FRA", "carbon_intensity_grams_per_kwh": 5}},
            *("INVALID_ARGUMENT", "environment.region"),
        ),
        (
            {"environment": {"price_usd_per_hour": math.inf}},
            *("INVALID_ARGUMENT", "environment.price_usd_per_hour"),
        ),
        ({"data": {"texts": -1}}, "INVALID_ARGUMENT", "data.texts"),
        ({"data": {"labels": 1}}, "INVALID_ARGUMENT", "data.labels"),
        ({"calibration": 9}, "INVALID_ARGUMENT", "calibration"),
        (
            {
                "calibration": pb.CALIBRATION_POLICY_REFRESH,
                "environment": {"device": "devices/h100-sxm"},
            },
            *("INVALID_ARGUMENT", "calibration"),
        ),
        (
            {"recommend": {"budget": {"seconds": 0}}},
            *("INVALID_ARGUMENT", "recommend.budget.seconds"),
        ),
        (
            {"recommend": {"minimum_quality": 2.0}},
            *("INVALID_ARGUMENT", "recommend.minimum_quality"),
        ),
        (
            {"recommend": {"max_candidates": 101}},
            *("INVALID_ARGUMENT", "recommend.max_candidates"),
        ),
    ],
)
def test_what_stands_beside_the_workload_is_checked_too(
    server: Serving, fields: dict[str, Any], code: str, field: str
) -> None:
    details = refused(server, workload=embed(), **fields)
    assert (details.code.name, details.field) == (code, field)


def test_counts_whose_product_overflows_are_refused(server: Serving) -> None:
    shape = pb.ModelShape(
        layers=2**31 - 1, hidden_size=2**31 - 1, vocabulary_size=2**31 - 1, max_tokens=0
    )
    for workload in (
        embed(texts=2**63 - 1, tokens_per_text=1e308),
        serve(texts_per_second=1e308, duration_seconds=1e308),
        pb.Workload(
            paradigm=pb.ParadigmWorkload(
                shape=shape, tokens=2**63 - 1, epochs=2**31 - 1, sequence_length=2**31 - 1
            )
        ),
    ):
        try:
            found = estimated(server, workload=workload)
        except grpc.RpcError as error:
            details = Details(error)
            assert details.code.name == "INVALID_ARGUMENT"
            assert details.field.startswith("workload.")
        else:  # as large as it is, it is a number
            assert math.isfinite(found.physical.total.flops.p90)


# Devices


def test_this_host_comes_first(server: Serving) -> None:
    stub = stubs.CostServiceStub(server.channel)
    found = stub.ListDevices(pb.ListDevicesRequest(), timeout=20)
    assert found.devices[0].name == "devices/host"
    assert found.devices[0].in_host
    assert found.devices[0].cores > 0
    assert {"WORLD", "FRA"} <= {region.name for region in found.regions}
    assert found.defaults.region == "FRA"
    assert found.defaults.price_usd_per_hour == pytest.approx(0.36)
    for device in found.devices:
        for figure in (*device.memory_bytes, *device.max_power_watts, *device.price_usd_per_hour):
            assert figure.source


def test_devices_come_in_pages(server: Serving) -> None:
    stub = stubs.CostServiceStub(server.channel)
    everything = stub.ListDevices(pb.ListDevicesRequest(page_size=1000), timeout=20)
    names: list[str] = []
    token = ""
    while True:
        request = pb.ListDevicesRequest(page_size=7, page_token=token)
        page = stub.ListDevices(request, timeout=20)
        assert bool(page.regions) == bool(page.HasField("defaults")) == (not names)
        names += [device.name for device in page.devices]
        token = page.next_page_token
        if not token:
            break
    assert names == [device.name for device in everything.devices]
    for bad in (pb.ListDevicesRequest(page_size=-1), pb.ListDevicesRequest(page_token="x")):
        with pytest.raises(grpc.RpcError) as caught:
            stub.ListDevices(bad, timeout=20)
        assert Details(caught.value).code.name == "INVALID_ARGUMENT"


# The ledger


def test_nothing_has_run_yet(server: Serving) -> None:
    stub = stubs.CostServiceStub(server.channel)
    found = stub.GetEstimateAccuracy(pb.GetEstimateAccuracyRequest(page_size=10), timeout=20)
    assert not found.accuracies
    assert not found.entries


@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        ({"kind": "nonsense"}, "INVALID_ARGUMENT", "kind"),
        ({"operation": "operations/0123"}, "NOT_FOUND", "operation"),
        ({"page_size": -1}, "INVALID_ARGUMENT", "page_size"),
        ({"page_token": "nonsense"}, "INVALID_ARGUMENT", "page_token"),
        (
            {"start_time": timestamp_pb2.Timestamp(seconds=-(10**14))},
            *("INVALID_ARGUMENT", "start_time"),
        ),
    ],
)
def test_bad_questions_about_the_ledger(
    server: Serving, fields: dict[str, Any], code: str, field: str
) -> None:
    stub = stubs.CostServiceStub(server.channel)
    with pytest.raises(grpc.RpcError) as caught:
        stub.GetEstimateAccuracy(pb.GetEstimateAccuracyRequest(**fields), timeout=20)
    details = Details(caught.value)
    assert (details.code.name, details.field) == (code, field)


# In the flow


def test_a_budget_that_is_not_kept_is_refused_with_the_estimate(server: Serving) -> None:
    stub = distillation_stubs.DistillationServiceStub(server.channel)
    request = distillation.DistillRequest(
        teacher="t", name="n", static={}, budget=common_pb2.Budget(seconds=1e-6)
    )
    with pytest.raises(grpc.RpcError) as caught:
        stub.Distill(request, timeout=20)
    details = Details(caught.value)
    assert (details.code.name, details.info.reason) == ("FAILED_PRECONDITION", "BUDGET_EXCEEDED")
    assert details.field == "budget.seconds"
    estimate = pb.CostEstimate()
    assert [each.Unpack(estimate) for each in details.status.details].count(True) == 1
    assert estimate.budget_check.limits[0].ratio > 1
    assert not estimate.physical.phases


def test_an_import_is_compared_with_what_it_took(server: Serving, root: Path) -> None:
    request = model_service_pb2.ImportModelRequest(
        name="again",
        kind=model_pb2.MODEL_KIND_STUDENT,
        source=common_pb2.ModelSource(path=str(root / "student")),
    )
    stub = model_service_pb2_grpc.ModelServiceStub(server.channel)
    name = stub.ImportModel(request, timeout=20).name
    watched = server.channel.unary_stream("/stillroom.v1.OperationService/WatchOperation")(
        operations.WatchOperationRequest(name=name).SerializeToString(), timeout=60
    )
    last = [operations.WatchOperationResponse.FromString(data) for data in watched][-1]
    assert last.operation.HasField("response"), last.operation.error
    found = stubs.CostServiceStub(server.channel).GetEstimateAccuracy(
        pb.GetEstimateAccuracyRequest(operation=name, page_size=1), timeout=20
    )
    (entry,) = found.entries
    assert (entry.operation, entry.kind, entry.succeeded) == (name, "import", True)
    assert entry.estimate.physical.total.wall_seconds.p50 > 0
    assert entry.measured.wall_seconds.basis == pb.COST_BASIS_MEASURED
    assert entry.measured.wall_seconds.p50 > 0
