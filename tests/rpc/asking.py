"""Questions to CostService, and their answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import pytest
from serving import Details, Serving

from stillroom.v1 import (
    classification_service_pb2,
    common_pb2,
    model_service_pb2,
)
from stillroom.v1 import cost_service_pb2 as pb
from stillroom.v1 import cost_service_pb2_grpc as stubs
from stillroom.v1 import distillation_service_pb2 as distillation

NEVER = pb.CALIBRATION_POLICY_NEVER
FIGURES = [field.name for field in pb.ResourceFigures.DESCRIPTOR.fields]


def ask(server: Serving, **fields: Any) -> pb.EstimateCostResponse:
    given = {"calibration": NEVER, **fields}
    return stubs.CostServiceStub(server.channel).EstimateCost(
        pb.EstimateCostRequest(**given), timeout=60
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


def push(**fields: Any) -> pb.Workload:
    given = {"name": "s", "repo": "allowed/s", **fields}
    return pb.Workload(push=model_service_pb2.PushModelVersionRequest(**given))


def pull(*, repo: str = "allowed/s", **fields: Any) -> pb.Workload:
    source = common_pb2.HubSource(repo=repo)
    return pb.Workload(pull=model_service_pb2.PullModelRequest(source=source, **fields))
