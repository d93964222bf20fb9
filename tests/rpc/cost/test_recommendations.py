"""Ways to do work, those that fit best first, and why the others do not."""

from __future__ import annotations

from pathlib import Path

from serving import Serving

from rpc.asking import (
    ask,
    corpus,
    distill,
    refused,
)
from stillroom.v1 import (
    common_pb2,
)
from stillroom.v1 import cost_service_pb2 as pb
from stillroom.v1 import distillation_service_pb2_grpc as distillation_stubs


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
        assert stub.Distill(request, timeout=60).done
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
