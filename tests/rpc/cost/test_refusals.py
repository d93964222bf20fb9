"""Bad questions name their field."""

from __future__ import annotations

import math
from typing import Any

import grpc
import pytest
from serving import Details, Serving

from rpc.asking import (
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
    common_pb2,
    embedding_service_pb2,
)
from stillroom.v1 import cost_service_pb2 as pb
from stillroom.v1 import distillation_service_pb2 as distillation

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
        (push(repo="nonsense"), "INVALID_ARGUMENT", "workload.push.repo"),
        (push(name="none"), "NOT_FOUND", "workload.push.name"),
        (push(repo="not/allowed"), "PERMISSION_DENIED", "workload.push.repo"),
        (pull(repo="nonsense"), "INVALID_ARGUMENT", "workload.pull.source.repo"),
        (pull(name="Not A Name"), "INVALID_ARGUMENT", "workload.pull.name"),
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
