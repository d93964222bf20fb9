"""Models into the registry, and between it and the Hub."""

from __future__ import annotations

import os
from collections.abc import Mapping

from google.protobuf.duration_pb2 import Duration

from stillroom import archives, packages
from stillroom._core import Core
from stillroom._flows import sources
from stillroom._flows.uploads import send_payload
from stillroom._progress import Progress
from stillroom._protocol import enums, rpcs
from stillroom._protocol.messages import build
from stillroom.errors import InvalidArgument
from stillroom.snapshots import Started
from stillroom.v1 import common_pb2, model_pb2
from stillroom.v1 import model_service_pb2 as pb


async def import_model(
    core: Core,
    name: str,
    *,
    path: str | os.PathLike[str] | None = None,
    package: str | None = None,
    hub: str | None = None,
    revision: str | None = None,
    upload: str | None = None,
    server_path: str | None = None,
    kind: str | None = None,
    description: str | None = None,
    labels: Mapping[str, str] | None = None,
    progress: Progress = False,
    request_id: str | None = None,
) -> Started[pb.ImportModelResponse]:
    """Brings a model into the registry as ``name``; answers the operation that does it.

    Exactly one source: ``path`` is a folder on this machine, which is uploaded; ``package`` an
    installed Python package with a model inside, found without importing it and uploaded; ``hub``
    ``owner/name`` on the Hub, at ``revision`` or ``owner/name@revision``; ``upload`` a finished
    upload; ``server_path`` a folder on the server, inside a root that its operator allowed.
    ``kind`` ("teacher" or "student") is found out when not given. ``progress`` shows the upload.

    Raises InvalidArgument (no source, several, no model in the folder), NotFound (the package or
    upload), PermissionDenied (a path or repository that the server does not allow).
    """
    source = await model_source(
        core,
        path=path,
        package=package,
        hub=hub,
        revision=revision,
        upload=upload,
        server_path=server_path,
        progress=progress,
    )
    request = build(
        pb.ImportModelRequest,
        name=name,
        source=source,
        kind=enums.number(model_pb2.ModelKind, kind, "kind"),
        description=description,
        labels=labels,
        request_id=request_id or core.new_id(),
    )
    return Started(core, await core.call(rpcs.IMPORT_MODEL, request))


async def model_source(
    core: Core,
    *,
    path: str | os.PathLike[str] | None = None,
    package: str | None = None,
    hub: str | None = None,
    revision: str | None = None,
    upload: str | None = None,
    server_path: str | None = None,
    progress: Progress = False,
) -> common_pb2.ModelSource:
    """The ModelSource of one of these sources, after uploading what is on this machine. For what
    takes a ModelSource, such as the ``teacher`` of ``distill``; see ``import_model``."""
    choices = {
        "path": path,
        "package": package,
        "hub": hub,
        "upload": upload,
        "server_path": server_path,
    }
    sources.check_one(choices, "source")
    if revision is not None and hub is None:
        raise InvalidArgument("revision goes with hub", field="revision")
    if hub is not None:
        return common_pb2.ModelSource(hub=_hub(hub, revision))
    if server_path is not None:
        return build(common_pb2.ModelSource, path=server_path)
    if upload is not None:
        return build(common_pb2.ModelSource, upload=upload)
    offload = core.transport.offload
    if package is not None:
        path = await offload(packages.model_in_package, package)
    payload = await offload(
        archives.model_folder, path or "", "path" if package is None else "package"
    )
    info = await send_payload(core, payload, progress=progress)
    return common_pb2.ModelSource(upload=info.name)


async def push(
    core: Core,
    name: str,
    repo: str,
    *,
    branch: str | None = None,
    tag: str | None = None,
    private: bool = False,
    force: bool = False,
    request_id: str | None = None,
) -> Started[pb.PushModelVersionResponse]:
    """Publishes a version on the Hub as one commit. ``force`` overwrites though the remote
    moved."""
    request = build(
        pb.PushModelVersionRequest,
        name=name,
        repo=repo,
        branch=branch,
        tag=tag,
        private_repo=private,
        force=force,
        request_id=request_id or core.new_id(),
    )
    return Started(core, await core.call(rpcs.PUSH_MODEL_VERSION, request))


async def pull(
    core: Core,
    hub: str,
    name: str,
    *,
    revision: str | None = None,
    request_id: str | None = None,
) -> Started[pb.PullModelResponse]:
    """Makes a version of ``name`` from ``owner/name[@revision]`` on the Hub, verified file by
    file."""
    request = build(
        pb.PullModelRequest,
        source=_hub(hub, revision),
        name=name,
        request_id=request_id or core.new_id(),
    )
    return Started(core, await core.call(rpcs.PULL_MODEL, request))


async def verify(
    core: Core, name: str, *, request_id: str | None = None
) -> Started[pb.VerifyModelVersionResponse]:
    """Hashes a version's files again."""
    request = build(pb.VerifyModelVersionRequest, name=name, request_id=request_id or core.new_id())
    return Started(core, await core.call(rpcs.VERIFY_MODEL_VERSION, request))


async def collect_garbage(
    core: Core,
    *,
    dry_run: bool = False,
    grace_seconds: float | None = None,
    request_id: str | None = None,
) -> Started[pb.CollectGarbageResponse]:
    """Deletes blobs that nothing refers to and that are older than ``grace_seconds`` (one hour);
    ``dry_run`` only counts them."""
    request = pb.CollectGarbageRequest(dry_run=dry_run, request_id=request_id or core.new_id())
    if grace_seconds is not None:
        grace = Duration()
        grace.FromNanoseconds(round(grace_seconds * 1e9))
        request.grace_period.CopyFrom(grace)
    return Started(core, await core.call(rpcs.COLLECT_GARBAGE, request))


def _hub(hub: str, revision: str | None) -> common_pb2.HubSource:
    repo, at, inline = hub.partition("@")
    if at and revision is not None:
        raise InvalidArgument(
            "the revision is given twice: in hub and as revision", field="revision"
        )
    if repo.count("/") != 1 or not all(repo.split("/")) or (at and not inline):
        raise InvalidArgument(
            f"{hub!r} is no Hub repository; write owner/name or owner/name@revision", field="hub"
        )
    return build(common_pb2.HubSource, repo=repo, revision=revision or inline)
