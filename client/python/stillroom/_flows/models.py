"""Models, versions and aliases."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping

from google.protobuf.field_mask_pb2 import FieldMask

from stillroom._core import Core
from stillroom._protocol import enums, rpcs
from stillroom._protocol.messages import build
from stillroom.v1 import model_pb2
from stillroom.v1 import model_service_pb2 as pb


async def list_models(
    core: Core,
    *,
    kind: str | None = None,
    filter: str | None = None,  # noqa: A002 - the protocol's name
    order_by: str | None = None,
    page_size: int | None = None,
) -> AsyncGenerator[model_pb2.Model, None]:
    """Yields the models, page after page. ``kind`` is "teacher", "student" or "classifier"."""
    request = build(
        pb.ListModelsRequest,
        page_size=page_size,
        kind=enums.number(model_pb2.ModelKind, kind, "kind"),
        filter=filter,
        order_by=order_by,
    )
    async for page in core.pages(rpcs.LIST_MODELS, request):
        for model in page.models:
            yield model


async def get_model(core: Core, name: str) -> model_pb2.Model:
    """One model by ``name`` or ``models/{name}``. NotFound when there is none."""
    return (await core.call(rpcs.GET_MODEL, build(pb.GetModelRequest, name=name))).model


async def update_model(
    core: Core,
    name: str,
    *,
    description: str | None = None,
    labels: Mapping[str, str] | None = None,
    etag: str | None = None,
    request_id: str | None = None,
) -> model_pb2.Model:
    """Changes what is given and leaves the rest. With ``etag``: Aborted if the model has
    changed."""
    model = build(model_pb2.Model, name=name, description=description, labels=labels, etag=etag)
    changed = {"description": description, "labels": labels}
    mask = FieldMask(paths=[path for path, value in changed.items() if value is not None])
    request = pb.UpdateModelRequest(
        model=model, update_mask=mask, request_id=request_id or core.new_id()
    )
    return (await core.call(rpcs.UPDATE_MODEL, request)).model


async def delete_model(
    core: Core,
    name: str,
    *,
    force: bool = False,
    etag: str | None = None,
    request_id: str | None = None,
) -> None:
    """Deletes a model with all its versions. FailedPrecondition while it has aliases, unless
    ``force``."""
    request = build(
        pb.DeleteModelRequest,
        name=name,
        force=force,
        etag=etag,
        request_id=request_id or core.new_id(),
    )
    await core.call(rpcs.DELETE_MODEL, request)


async def list_versions(
    core: Core, model: str, *, page_size: int | None = None
) -> AsyncGenerator[model_pb2.ModelVersion, None]:
    """Yields the versions of a model, newest first, page after page."""
    request = build(pb.ListModelVersionsRequest, parent=model, page_size=page_size)
    async for page in core.pages(rpcs.LIST_MODEL_VERSIONS, request):
        for version in page.model_versions:
            yield version


async def get_version(core: Core, name: str) -> model_pb2.ModelVersion:
    """One version by ``name`` (what it resolves to now), ``name@3``, ``name@alias`` or full
    name."""
    request = build(pb.GetModelVersionRequest, name=name)
    return (await core.call(rpcs.GET_MODEL_VERSION, request)).model_version


async def delete_version(
    core: Core, name: str, *, force: bool = False, request_id: str | None = None
) -> None:
    """Deletes ``name@3``. FailedPrecondition while an alias points to it, unless ``force``: then
    the alias goes too."""
    request = build(
        pb.DeleteModelVersionRequest,
        name=name,
        force=force,
        request_id=request_id or core.new_id(),
    )
    await core.call(rpcs.DELETE_MODEL_VERSION, request)


async def set_alias(
    core: Core,
    model: str,
    alias: str,
    version: int,
    *,
    expected_version: int | None = None,
    request_id: str | None = None,
) -> model_pb2.ModelAlias:
    """Points ``model@alias`` to ``version``. With ``expected_version`` (0: must not exist): Aborted
    unless it points there now."""
    request = build(
        pb.SetModelAliasRequest,
        model=model,
        alias=alias,
        version=version,
        expected_version=expected_version,
        request_id=request_id or core.new_id(),
    )
    return (await core.call(rpcs.SET_MODEL_ALIAS, request)).alias


async def delete_alias(
    core: Core, model: str, alias: str, *, request_id: str | None = None
) -> None:
    """Deletes an alias; the version stays."""
    request = build(
        pb.DeleteModelAliasRequest,
        model=model,
        alias=alias,
        request_id=request_id or core.new_id(),
    )
    await core.call(rpcs.DELETE_MODEL_ALIAS, request)


async def roll_back_alias(
    core: Core,
    model: str,
    alias: str,
    *,
    expected_version: int | None = None,
    request_id: str | None = None,
) -> model_pb2.ModelAlias:
    """Points an alias back to where it pointed before its last move."""
    request = build(
        pb.RollBackModelAliasRequest,
        model=model,
        alias=alias,
        expected_version=expected_version,
        request_id=request_id or core.new_id(),
    )
    return (await core.call(rpcs.ROLL_BACK_MODEL_ALIAS, request)).alias


async def list_alias_events(
    core: Core, model: str, *, alias: str | None = None, page_size: int | None = None
) -> AsyncGenerator[model_pb2.AliasEvent, None]:
    """Yields the moves of a model's aliases, newest first, page after page."""
    request = build(pb.ListAliasEventsRequest, parent=model, alias=alias, page_size=page_size)
    async for page in core.pages(rpcs.LIST_ALIAS_EVENTS, request):
        for event in page.events:
            yield event


async def get_lineage(core: Core, name: str, *, depth: int | None = None) -> pb.GetLineageResponse:
    """What a version was made from and what was made from it, ``depth`` steps each way."""
    return await core.call(rpcs.GET_LINEAGE, build(pb.GetLineageRequest, name=name, depth=depth))
