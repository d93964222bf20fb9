"""ModelService: the registry over gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator

from google.longrunning import operations_pb2
from google.protobuf.descriptor import ServiceDescriptor

from stillroom.v1 import model_pb2
from stillroom.v1 import model_service_pb2 as pb
from stillroom_registry.errors import InvalidArgument
from stillroom_registry.names import ModelRef
from stillroom_registry.registry import Registry
from stillroom_registry.values import ModelVersion
from stillroom_server.operations.model import Json
from stillroom_server.rpc import lineage as lineages
from stillroom_server.rpc import translate, upkeep
from stillroom_server.rpc.admission import Admission
from stillroom_server.rpc.call import Call, in_thread
from stillroom_server.rpc.changes import ModelChange
from stillroom_server.rpc.downloads import download
from stillroom_server.rpc.fields import at_field
from stillroom_server.rpc.hub_sync import HubSyncs
from stillroom_server.rpc.idempotency import Idempotency
from stillroom_server.rpc.launch import Launcher

DESCRIPTOR: ServiceDescriptor = pb.DESCRIPTOR.services_by_name["ModelService"]


def import_response(result: Json, registry: Registry) -> pb.ImportModelResponse:
    """The response of a finished import."""
    skipped = result.get("skipped_files", [])
    return pb.ImportModelResponse(
        model_version=translate.published(result["model_version"], registry),
        skipped_files=[
            pb.SkippedFile(path=file["path"], reason=file["reason"]) for file in skipped
        ],
    )


class ModelServicer:
    """Models, versions and aliases. What changes something runs once a ``request_id``."""

    def __init__(
        self,
        registry: Registry,
        launcher: Launcher,
        once: Idempotency,
        admission: Admission,
        syncs: HubSyncs,
        *,
        max_response_bytes: int,
    ) -> None:
        self._syncs = syncs
        self._max_response_bytes = max_response_bytes
        self._registry = registry
        self._launcher = launcher
        self._once = once
        self._admission = admission

    async def ListModels(self, request: pb.ListModelsRequest, call: Call) -> pb.ListModelsResponse:
        page = await in_thread(
            self._registry.list_models,
            request.page_size,
            request.page_token,
            kind=translate.kind(request.kind, "kind"),
            filter=request.filter,
            order_by=request.order_by,
        )
        return pb.ListModelsResponse(
            models=[translate.model(item) for item in page.items],
            next_page_token=page.next_page_token,
        )

    async def GetModel(self, request: pb.GetModelRequest, call: Call) -> pb.GetModelResponse:
        name = translate.model_name(request.name, "name")
        return pb.GetModelResponse(
            model=translate.model(await in_thread(self._registry.get_model, name))
        )

    async def UpdateModel(
        self, request: pb.UpdateModelRequest, call: Call
    ) -> pb.UpdateModelResponse:
        change = ModelChange.of(request)

        def update() -> pb.UpdateModelResponse:
            changed = self._registry.update_model(
                change.name,
                description=change.description,
                labels=change.labels,
                etag=request.model.etag or None,
            )
            return pb.UpdateModelResponse(model=translate.model(changed))

        return await self._once.run(request, pb.UpdateModelResponse, update)

    async def DeleteModel(
        self, request: pb.DeleteModelRequest, call: Call
    ) -> pb.DeleteModelResponse:
        name = translate.model_name(request.name, "name")

        def delete() -> pb.DeleteModelResponse:
            self._registry.delete_model(
                name, force=request.force, who=call.actor or None, etag=request.etag or None
            )
            return pb.DeleteModelResponse()

        return await self._once.run(request, pb.DeleteModelResponse, delete)

    async def ListModelVersions(
        self, request: pb.ListModelVersionsRequest, call: Call
    ) -> pb.ListModelVersionsResponse:
        name = translate.model_name(request.parent, "parent")

        def page() -> pb.ListModelVersionsResponse:
            found = self._registry.list_versions(name, request.page_size, request.page_token)
            aliases = self._registry.get_model(name).aliases
            syncs = self._syncs.of_versions(name, [item.version for item in found.items])
            return pb.ListModelVersionsResponse(
                model_versions=[
                    translate.version(
                        item,
                        aliases,
                        syncs[item.version],
                        damaged=self._registry.damaged_files(item),
                    )
                    for item in found.items
                ],
                next_page_token=found.next_page_token,
            )

        return await in_thread(page)

    async def GetModelVersion(
        self, request: pb.GetModelVersionRequest, call: Call
    ) -> pb.GetModelVersionResponse:
        ref = ModelRef.parse(request.name, field="name")
        return pb.GetModelVersionResponse(model_version=await in_thread(self._version, ref))

    async def DeleteModelVersion(
        self, request: pb.DeleteModelVersionRequest, call: Call
    ) -> pb.DeleteModelVersionResponse:
        ref = ModelRef.parse(request.name, field="name")
        if ref.version is None:
            raise InvalidArgument(
                f"{request.name} may mean another version tomorrow; name the one to delete, as"
                f" {ref.model}@3",
                reason="VERSION_REQUIRED",
                field="name",
            )
        number = ref.version

        def delete() -> pb.DeleteModelVersionResponse:
            self._registry.delete_version(
                ref.model, number, force=request.force, who=call.actor or None
            )
            return pb.DeleteModelVersionResponse()

        return await self._once.run(request, pb.DeleteModelVersionResponse, delete)

    async def SetModelAlias(
        self, request: pb.SetModelAliasRequest, call: Call
    ) -> pb.SetModelAliasResponse:
        name = translate.model_name(request.model, "model")
        translate.positive(request.version, "version")
        expected = request.expected_version if request.HasField("expected_version") else None

        def point() -> pb.SetModelAliasResponse:
            alias = self._registry.set_alias(
                name,
                request.alias,
                request.version,
                who=call.actor or None,
                expected_version=expected,
            )
            return pb.SetModelAliasResponse(alias=translate.alias(alias))

        return await self._once.run(request, pb.SetModelAliasResponse, point)

    async def DeleteModelAlias(
        self, request: pb.DeleteModelAliasRequest, call: Call
    ) -> pb.DeleteModelAliasResponse:
        name = translate.model_name(request.model, "model")

        def delete() -> pb.DeleteModelAliasResponse:
            self._registry.delete_alias(name, request.alias, who=call.actor or None)
            return pb.DeleteModelAliasResponse()

        return await self._once.run(request, pb.DeleteModelAliasResponse, delete)

    async def RollBackModelAlias(
        self, request: pb.RollBackModelAliasRequest, call: Call
    ) -> pb.RollBackModelAliasResponse:
        name = translate.model_name(request.model, "model")
        expected = request.expected_version if request.HasField("expected_version") else None

        def roll_back() -> pb.RollBackModelAliasResponse:
            alias = self._registry.roll_back_alias(
                name, request.alias, who=call.actor or None, expected_version=expected
            )
            return pb.RollBackModelAliasResponse(alias=translate.alias(alias))

        return await self._once.run(request, pb.RollBackModelAliasResponse, roll_back)

    async def ListAliasEvents(
        self, request: pb.ListAliasEventsRequest, call: Call
    ) -> pb.ListAliasEventsResponse:
        page = await in_thread(
            self._registry.list_alias_events,
            translate.model_name(request.parent, "parent"),
            request.alias or None,
            request.page_size,
            request.page_token,
        )
        return pb.ListAliasEventsResponse(
            events=[translate.alias_event(event) for event in page.items],
            next_page_token=page.next_page_token,
        )

    async def GetLineage(self, request: pb.GetLineageRequest, call: Call) -> pb.GetLineageResponse:
        ref = ModelRef.parse(request.name, field="name")

        def found() -> pb.GetLineageResponse:
            with at_field("name", instead_of="model"):
                lineage = self._registry.lineage(ref, request.depth)
            return lineages.response(lineage, self._max_response_bytes)

        return await in_thread(found)

    async def ImportModel(
        self, request: pb.ImportModelRequest, call: Call
    ) -> operations_pb2.Operation:
        return await self._launcher.estimates.in_thread(self._launcher.launch_import, request)

    async def PushModelVersion(
        self, request: pb.PushModelVersionRequest, call: Call
    ) -> operations_pb2.Operation:
        return await self._launcher.estimates.in_thread(self._syncs.push, request)

    async def PullModel(self, request: pb.PullModelRequest, call: Call) -> operations_pb2.Operation:
        return await self._launcher.estimates.in_thread(self._syncs.pull, request)

    async def VerifyModelVersion(
        self, request: pb.VerifyModelVersionRequest, call: Call
    ) -> operations_pb2.Operation:
        return await in_thread(upkeep.launch_verify, self._launcher, request)

    async def CollectGarbage(
        self, request: pb.CollectGarbageRequest, call: Call
    ) -> operations_pb2.Operation:
        return await in_thread(upkeep.launch_collect, self._launcher, request)

    async def DownloadModelVersion(
        self, request: pb.DownloadModelVersionRequest, call: Call
    ) -> AsyncIterator[pb.DownloadModelVersionResponse]:
        ref = ModelRef.parse(request.name, field="name")
        version = await in_thread(self._resolve, ref)
        message = await in_thread(self._message, version)
        with self._admission.stream():
            async for part in download(self._registry, version, message, request):
                yield part

    def _version(self, ref: ModelRef) -> model_pb2.ModelVersion:
        return self._message(self._resolve(ref))

    def _resolve(self, ref: ModelRef) -> ModelVersion:
        with at_field("name", instead_of="model"):
            return self._registry.resolve(ref)

    def _message(self, version: ModelVersion) -> model_pb2.ModelVersion:
        syncs = self._syncs.of_versions(version.model, [version.version])[version.version]
        aliases = self._registry.get_model(version.model).aliases
        damaged = self._registry.damaged_files(version)
        return translate.version(version, aliases, syncs, damaged=damaged)
