"""Every RPC of the server: its path, its messages, and whether it may be repeated."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from google.longrunning import operations_pb2 as lro
from google.protobuf import empty_pb2
from google.protobuf.message import DecodeError, Message

from stillroom.errors import Internal
from stillroom.internal.v1 import embedding_wire_pb2 as wire
from stillroom.internal.v1.classification_wire_pb2 import WireClassifyResponse
from stillroom.v1 import classification_service_pb2 as classification
from stillroom.v1 import cost_service_pb2 as costs
from stillroom.v1 import distillation_service_pb2 as distillation
from stillroom.v1 import embedding_service_pb2 as embedding
from stillroom.v1 import model_service_pb2 as models
from stillroom.v1 import operation_service_pb2 as operations
from stillroom.v1 import server_service_pb2 as server
from stillroom.v1 import upload_service_pb2 as uploads

Q = TypeVar("Q", bound=Message)
A = TypeVar("A", bound=Message)


@dataclass(frozen=True, eq=False)
class Rpc(Generic[Q, A]):
    """An RPC. ``repeatable`` ones are retried on UNAVAILABLE by gRPC itself: those that only read,
    and mutations that carry a request_id. All others could take effect twice, or answer a success
    with NOT_FOUND the second time."""

    path: str
    request: type[Q]
    answer: type[A]
    repeatable: bool = True

    def parse(self, data: bytes) -> A:
        """``data`` as the answer's message; Internal when it is none."""
        try:
            return self.answer.FromString(data)
        except DecodeError:
            raise Internal(
                f"the answer of {self.path} is no {self.answer.DESCRIPTOR.full_name}; does another"
                " program listen there?",
                reason="MALFORMED_ANSWER",
            ) from None


_S = "/stillroom.v1."
_CLASSIFICATION = _S + "ClassificationService/"
_COSTS = _S + "CostService/"
_EMBEDDING = _S + "EmbeddingService/"
_MODELS = _S + "ModelService/"
_UPLOADS = _S + "UploadService/"
_LRO = "/google.longrunning.Operations/"

# Answers with many numbers are parsed as the wire twins: these stay blocks of bytes.
EMBED = Rpc(_EMBEDDING + "Embed", embedding.EmbedRequest, wire.WireEmbedResponse)
EMBED_STREAM = Rpc(
    _EMBEDDING + "EmbedStream", embedding.EmbedStreamRequest, wire.WireEmbedResponse, False
)
TOKENIZE = Rpc(_EMBEDDING + "Tokenize", embedding.TokenizeRequest, embedding.TokenizeResponse)

CLASSIFY = Rpc(_CLASSIFICATION + "Classify", classification.ClassifyRequest, WireClassifyResponse)
CLASSIFY_STREAM = Rpc(
    _CLASSIFICATION + "ClassifyStream",
    classification.ClassifyStreamRequest,
    WireClassifyResponse,
    False,
)
TRAIN_CLASSIFIER = Rpc(
    _CLASSIFICATION + "TrainClassifier", classification.TrainClassifierRequest, lro.Operation
)
EVALUATE_CLASSIFIER = Rpc(
    _CLASSIFICATION + "EvaluateClassifier", classification.EvaluateClassifierRequest, lro.Operation
)

ESTIMATE_COST = Rpc(_COSTS + "EstimateCost", costs.EstimateCostRequest, costs.EstimateCostResponse)
LIST_DEVICES = Rpc(_COSTS + "ListDevices", costs.ListDevicesRequest, costs.ListDevicesResponse)
GET_ESTIMATE_ACCURACY = Rpc(
    _COSTS + "GetEstimateAccuracy",
    costs.GetEstimateAccuracyRequest,
    costs.GetEstimateAccuracyResponse,
)

UPLOAD = Rpc(_UPLOADS + "Upload", uploads.UploadRequest, uploads.UploadResponse, False)
GET_UPLOAD = Rpc(_UPLOADS + "GetUpload", uploads.GetUploadRequest, uploads.GetUploadResponse)
DELETE_UPLOAD = Rpc(
    _UPLOADS + "DeleteUpload", uploads.DeleteUploadRequest, uploads.DeleteUploadResponse, False
)

DISTILL = Rpc(_S + "DistillationService/Distill", distillation.DistillRequest, lro.Operation)

LIST_MODELS = Rpc(_MODELS + "ListModels", models.ListModelsRequest, models.ListModelsResponse)
GET_MODEL = Rpc(_MODELS + "GetModel", models.GetModelRequest, models.GetModelResponse)
UPDATE_MODEL = Rpc(_MODELS + "UpdateModel", models.UpdateModelRequest, models.UpdateModelResponse)
DELETE_MODEL = Rpc(_MODELS + "DeleteModel", models.DeleteModelRequest, models.DeleteModelResponse)
LIST_MODEL_VERSIONS = Rpc(
    _MODELS + "ListModelVersions",
    models.ListModelVersionsRequest,
    models.ListModelVersionsResponse,
)
GET_MODEL_VERSION = Rpc(
    _MODELS + "GetModelVersion", models.GetModelVersionRequest, models.GetModelVersionResponse
)
DELETE_MODEL_VERSION = Rpc(
    _MODELS + "DeleteModelVersion",
    models.DeleteModelVersionRequest,
    models.DeleteModelVersionResponse,
)
SET_MODEL_ALIAS = Rpc(
    _MODELS + "SetModelAlias", models.SetModelAliasRequest, models.SetModelAliasResponse
)
DELETE_MODEL_ALIAS = Rpc(
    _MODELS + "DeleteModelAlias", models.DeleteModelAliasRequest, models.DeleteModelAliasResponse
)
ROLL_BACK_MODEL_ALIAS = Rpc(
    _MODELS + "RollBackModelAlias",
    models.RollBackModelAliasRequest,
    models.RollBackModelAliasResponse,
)
LIST_ALIAS_EVENTS = Rpc(
    _MODELS + "ListAliasEvents", models.ListAliasEventsRequest, models.ListAliasEventsResponse
)
GET_LINEAGE = Rpc(_MODELS + "GetLineage", models.GetLineageRequest, models.GetLineageResponse)
IMPORT_MODEL = Rpc(_MODELS + "ImportModel", models.ImportModelRequest, lro.Operation)
PUSH_MODEL_VERSION = Rpc(
    _MODELS + "PushModelVersion", models.PushModelVersionRequest, lro.Operation
)
PULL_MODEL = Rpc(_MODELS + "PullModel", models.PullModelRequest, lro.Operation)
VERIFY_MODEL_VERSION = Rpc(
    _MODELS + "VerifyModelVersion", models.VerifyModelVersionRequest, lro.Operation
)
COLLECT_GARBAGE = Rpc(_MODELS + "CollectGarbage", models.CollectGarbageRequest, lro.Operation)
DOWNLOAD_MODEL_VERSION = Rpc(
    _MODELS + "DownloadModelVersion",
    models.DownloadModelVersionRequest,
    models.DownloadModelVersionResponse,
    False,
)

GET_OPERATION = Rpc(_LRO + "GetOperation", lro.GetOperationRequest, lro.Operation)
LIST_OPERATIONS = Rpc(
    _LRO + "ListOperations", lro.ListOperationsRequest, lro.ListOperationsResponse
)
CANCEL_OPERATION = Rpc(_LRO + "CancelOperation", lro.CancelOperationRequest, empty_pb2.Empty)
DELETE_OPERATION = Rpc(_LRO + "DeleteOperation", lro.DeleteOperationRequest, empty_pb2.Empty, False)
WAIT_OPERATION = Rpc(_LRO + "WaitOperation", lro.WaitOperationRequest, lro.Operation)
WATCH_OPERATION = Rpc(
    _S + "OperationService/WatchOperation",
    operations.WatchOperationRequest,
    operations.WatchOperationResponse,
    False,
)

GET_SERVER_INFO = Rpc(
    _S + "ServerService/GetServerInfo", server.GetServerInfoRequest, server.GetServerInfoResponse
)

ALL: tuple[Rpc[Any, Any], ...] = tuple(
    value for value in list(globals().values()) if isinstance(value, Rpc)
)


def service_config() -> str:
    """gRPC's own retries, as JSON: repeatable RPCs, on UNAVAILABLE alone."""
    names = []
    for rpc in ALL:
        if rpc.repeatable:
            _, service, method = rpc.path.split("/")
            names.append({"service": service, "method": method})
    policy = {
        "maxAttempts": 4,
        "initialBackoff": "0.15s",
        "maxBackoff": "3s",
        "backoffMultiplier": 3,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }
    return json.dumps({"methodConfig": [{"name": names, "retryPolicy": policy}]})
