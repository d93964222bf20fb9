"""What EstimateCost answers, and that it changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from google.longrunning import operations_pb2, operations_pb2_grpc
from serving import Serving

from rpc.asking import (
    FIGURES,
    ask,
    corpus,
    distill,
    embed,
    estimated,
    pull,
    push,
    refused,
    serve,
    train,
    tuning,
)
from stillroom.v1 import (
    classification_service_pb2,
    common_pb2,
    model_service_pb2,
    model_service_pb2_grpc,
    server_service_pb2,
    server_service_pb2_grpc,
)
from stillroom.v1 import cost_service_pb2 as pb
from stillroom.v1 import distillation_service_pb2 as distillation


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
        listed = models.ListModels(model_service_pb2.ListModelsRequest(), timeout=60)
        running = operations_pb2_grpc.OperationsStub(server.channel)
        queued = running.ListOperations(operations_pb2.ListOperationsRequest(), timeout=60)
        info = server_service_pb2_grpc.ServerServiceStub(server.channel)
        loaded = info.GetServerInfo(server_service_pb2.GetServerInfoRequest(), timeout=60)
        return listed, queued, loaded.loaded_models, list((data / "uploads").iterdir())

    before = state()
    workload = distill(corpus=corpus(root), teacher="t")
    ask(server, workload=workload, recommend=pb.RecommendationOptions())
    estimated(server, workload=embed(model="t"))
    assert state() == before


def test_a_push_counts_all_files_as_changed(server: Serving) -> None:
    environment = pb.CostEnvironment(network_bytes_per_second=1e6)
    found = estimated(server, workload=push(), environment=environment)
    assert found.kind == "push"
    size = model_service_pb2_grpc.ModelServiceStub(server.channel).GetModelVersion(
        model_service_pb2.GetModelVersionRequest(name="s"), timeout=60
    )
    assert found.physical.total.network_bytes.p90 >= size.model_version.total_bytes
    assert not found.HasField("table")


def test_a_pull_is_as_large_as_it_is_said_to_be(server: Serving) -> None:
    unknown = estimated(server, workload=pull())
    assert unknown.physical.total.network_bytes.basis == pb.COST_BASIS_UNKNOWN
    environment = pb.CostEnvironment(network_bytes_per_second=1e6)
    data = pb.DataStatistics(total_bytes=60_000_000)
    found = estimated(server, workload=pull(), data=data, environment=environment)
    assert found.physical.total.network_bytes.p50 == pytest.approx(6e7, rel=0.1)
    assert found.physical.total.wall_seconds.p50 > 50
