"""Verifications and collections: from requests to operations, and from results to responses."""

from __future__ import annotations

from google.longrunning import operations_pb2
from google.protobuf import duration_pb2

from stillroom.v1 import model_service_pb2 as pb
from stillroom_registry.errors import InvalidArgument
from stillroom_registry.names import ModelRef
from stillroom_server.operations.model import Json
from stillroom_server.rpc import translate
from stillroom_server.rpc.fields import at_field
from stillroom_server.rpc.launch import Launcher

VERIFY, COLLECT_GARBAGE = "verify", "collect_garbage"
_GRACE_SECONDS = 3600.0
_MOST_GRACE_SECONDS = 100 * 365 * 86_400.0  # older than any blob
_NANOS = 1_000_000_000


def verify_response(result: Json) -> pb.VerifyModelVersionResponse:
    """The response of a finished verification."""
    return pb.VerifyModelVersionResponse(
        damaged_files=[
            translate.file(file["path"], file["digest"], file["size"])
            for file in result["damaged_files"]
        ],
        verified_bytes=result["verified_bytes"],
    )


def collect_response(result: Json) -> pb.CollectGarbageResponse:
    """The response of a finished collection."""
    return pb.CollectGarbageResponse(
        deleted_blobs=result["deleted_blobs"],
        deleted_bytes=result["deleted_bytes"],
        kept_blobs=result["kept_blobs"],
    )


def launch_verify(
    launcher: Launcher, request: pb.VerifyModelVersionRequest
) -> operations_pb2.Operation:
    """Queues a verification of the version that the name means now."""
    with at_field("name"):
        version = launcher.registry.resolve(ModelRef.parse(request.name))
    return launcher.queue(VERIFY, {"model_version": version.name}, request, target=version.model)


def launch_collect(
    launcher: Launcher, request: pb.CollectGarbageRequest
) -> operations_pb2.Operation:
    """Queues a collection."""
    grace = _GRACE_SECONDS
    if request.HasField("grace_period"):
        grace = _seconds(request.grace_period, "grace_period")
    body = {"dry_run": request.dry_run, "grace_seconds": grace}
    return launcher.queue(COLLECT_GARBAGE, body, request)


def _seconds(duration: duration_pb2.Duration, field: str) -> float:
    """At most a hundred years."""
    if abs(duration.nanos) >= _NANOS or duration.seconds * duration.nanos < 0:
        raise InvalidArgument(
            f"{field} is no duration: its nanos are out of range or of the other sign", field=field
        )
    seconds = duration.seconds + duration.nanos / _NANOS
    if seconds < 0:
        raise InvalidArgument(f"{field} is {seconds} s; it must not be negative", field=field)
    return min(seconds, _MOST_GRACE_SECONDS)
