"""From a request for long work to an operation: checked first, queued then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.longrunning import operations_pb2
from google.protobuf.message import Message
from sqlalchemy import Connection

from stillroom.v1 import common_pb2, model_service_pb2
from stillroom_registry.errors import FailedPrecondition, InvalidArgument, NotFound
from stillroom_registry.names import check_model_name
from stillroom_registry.registry import Registry
from stillroom_registry.values import ModelKind
from stillroom_server.distillation.recipes.budget import Budget
from stillroom_server.operations.model import Json, Operation
from stillroom_server.operations.store import OperationStore
from stillroom_server.rpc import copies, translate
from stillroom_server.rpc.corpora import Texts
from stillroom_server.rpc.described import check_description, check_labels
from stillroom_server.rpc.drafts import COMPLETE, Draft
from stillroom_server.rpc.estimates import Estimate, Estimates
from stillroom_server.rpc.fields import at_field, set_fields
from stillroom_server.rpc.idempotency import fingerprint
from stillroom_server.rpc.operation_messages import OperationMessages
from stillroom_server.rpc.spool import Spool
from stillroom_server.security.paths import AllowedRoots
from stillroom_server.uploads.store import UploadStore


class Launcher:
    """Queues operations. Everything that can be known beforehand is refused here."""

    def __init__(
        self,
        registry: Registry,
        store: OperationStore,
        uploads: UploadStore,
        roots: AllowedRoots,
        messages: OperationMessages,
        estimates: Estimates,
    ) -> None:
        self.registry = registry
        self.estimates = estimates
        self.texts = Texts(uploads, roots)
        self._store = store
        self._uploads = uploads
        self._roots = roots
        self._messages = messages

    def launch_import(
        self, request: model_service_pb2.ImportModelRequest
    ) -> operations_pb2.Operation:
        """Queues an import. The request is an ImportModelRequest."""
        kind = translate.kind(request.kind, "kind")
        told = copies.copy_of(request)
        if told is not None:
            kind = copies.kind_of(told, kind)
        body = self.described(request, kind)
        body["kind"] = kind
        body["source"] = self.source(request.source, "source")
        if told is not None:
            body["copy_of"] = told.to_json()
        return self.queue("import", body, request, target=request.name)

    def described(
        self, request: Any, kind: ModelKind | None, draft: Draft = COMPLETE
    ) -> dict[str, Any]:
        """Name, description and labels, checked; ``kind`` must be that of an existing model."""
        named = bool(request.name) or not draft.name
        if named:
            check_model_name(request.name, "name")
        check_description(request.description, "description")
        check_labels(request.labels, "labels")
        if named and kind is not None:
            self._check_kind(request.name, kind)
        return {
            "name": request.name,
            "description": request.description or None,
            "labels": dict(request.labels) or None,
        }

    def source(self, source: common_pb2.ModelSource, field: str) -> Json:
        """A model source, reachable as far as can be told without reading it."""
        match source.WhichOneof("source"):
            case "path":
                return {"path": str(self._roots.check(source.path, field=f"{field}.path"))}
            case "upload":
                with at_field(f"{field}.upload"):
                    return {"upload": source.upload, "file": str(self._uploads.open(source.upload))}
            case "hub":
                translate.check_repo(source.hub.repo, f"{field}.hub.repo")
                revision = source.hub.revision or None
                return {"hub": {"repo": source.hub.repo, "revision": revision}}
        raise InvalidArgument(
            "one of path, upload and hub must be set", reason="SOURCE_REQUIRED", field=field
        )

    def spool(self, *, dry: bool = False) -> Spool:
        """Where texts of a request go that are too many for it; see Spool."""
        return Spool(self._uploads, dry=dry)

    def checked(self, kind: str, target: str, response: Message) -> operations_pb2.Operation:
        """What answers a request that was only to be checked."""
        return self._messages.finished(kind, target, response)

    @staticmethod
    def budget(given: common_pb2.Budget) -> Json:
        """What an operation may take, checked by itself."""
        limits = set_fields(given)
        Budget.from_json(limits)
        return limits

    def earlier(self, kind: str, request: Any) -> operations_pb2.Operation | None:
        """The operation that the same request with the same ``request_id`` made before, which
        nothing that has changed since can refuse any more."""
        if not request.request_id:
            return None
        message: Message = request
        found = self._store.created_by(kind, request.request_id, fingerprint(message))
        return None if found is None else self._messages.message(found)

    def queue(
        self,
        kind: str,
        body: Json,
        request: Any,
        spool: Spool | None = None,
        *,
        target: str | None = None,
        estimate: Estimate | None = None,
        in_transaction: Callable[[Connection, Operation], None] | None = None,
    ) -> operations_pb2.Operation:
        """An operation of ``kind`` on the model ``target``, or the one that the same ``request_id``
        made before; of ``spool``, it keeps what it reads. The ledger is
        told the ``estimate``, or the one that is made here, if any can be; ``in_transaction`` may
        write more with a new operation."""
        message: Message = request
        if estimate is None:
            estimate = self.estimates.quietly(kind, body)
        expect = self.estimates.expecting(estimate)

        def written(connection: Connection, operation: Operation) -> None:
            expect(connection, operation)
            if in_transaction is not None:
                in_transaction(connection, operation)

        operation = self._store.create(
            kind,
            body,
            target=target,
            request_id=request.request_id or None,
            fingerprint=fingerprint(message),
            in_transaction=written,
        )
        if spool is not None:
            spool.keep(operation.request)
        return self._messages.message(operation)

    def _check_kind(self, name: str, kind: ModelKind) -> None:
        try:
            existing = self.registry.get_model(name)
        except NotFound:
            return
        if existing.kind is not kind:
            raise FailedPrecondition(
                f"models/{name} is a {existing.kind}; a {kind} needs another name",
                reason="KIND_MISMATCH",
                field="name",
                metadata={"model": name, "kind": existing.kind},
            )
