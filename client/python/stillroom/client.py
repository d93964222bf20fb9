"""The clients: one list of methods, two ways to call them."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any, ClassVar, Self

from stillroom._core import Core
from stillroom._faces import AsyncFace, BlockingFace, Method, Stream, run
from stillroom._flows import (
    classification,
    classifiers,
    copying,
    costs,
    distillation,
    downloads,
    embedding,
    imports,
    labeled,
    models,
    operations,
    server,
    starting,
    texts,
    uploads,
)
from stillroom._transport.asynchronous import AsyncTransport
from stillroom._transport.base import Transport
from stillroom._transport.blocking import BlockingTransport
from stillroom.connection import Connection, Pem, resolve
from stillroom.errors import InvalidArgument
from stillroom.operation import Starter


class _Api:
    """Every call of the server, as methods; ``stillroom._faces`` says how."""

    _transport_class: ClassVar[type[BlockingTransport] | type[AsyncTransport]]
    _subject: Core

    def __init__(
        self,
        target: str | None = None,
        *,
        token: str | None = None,
        tls: bool | None = None,
        root_certificates: Pem | None = None,
        client_certificate: Pem | None = None,
        client_key: Pem | None = None,
        allow_insecure: bool = False,
        timeout: float | None = 120.0,
        transport: Transport | None = None,
    ) -> None:
        """A client of the server at ``target``; connects with the first call.

        ``target`` is ``host:port``, ``unix:/path`` or another gRPC name; None reads
        STILLROOM_TARGET, else 127.0.0.1:50051. ``token`` is a bearer token; None reads
        STILLROOM_TOKEN. TLS is on with ``tls=True`` or any certificate; certificates are PEM, as
        bytes or a path, and ``root_certificates`` None reads STILLROOM_ROOT_CERTIFICATES, else the
        system's. A token goes in the clear only to this machine, or with ``allow_insecure``.
        ``timeout`` bounds each unary call in seconds; None waits forever. ``transport`` replaces
        the network, for tests.

        Raises InvalidArgument that names the argument.
        """
        _check_timeout(timeout)
        if transport is None:
            connection: Connection = resolve(
                target,
                token=token,
                tls=tls,
                root_certificates=root_certificates,
                client_certificate=client_certificate,
                client_key=client_key,
                allow_insecure=allow_insecure,
                environment=os.environ,
            )
            transport = self._transport_class(connection)
        self._subject = Core(transport, timeout)

    def with_timeout(self, timeout: float | None) -> Self:
        """The same client over the same connection with another ``timeout`` in seconds."""
        _check_timeout(timeout)
        other = object.__new__(type(self))
        other._subject = replace(self._subject, timeout=timeout)
        return other

    embed = Method(embedding.embed)
    embed_stream = Stream(embedding.embed_stream)
    tokenize = Method(embedding.tokenize)

    classify = Method(classification.classify)
    classify_stream = Stream(classification.classify_stream)
    train_classifier = Starter(classifiers.train_classifier)
    evaluate_classifier = Starter(classifiers.evaluate_classifier)
    train_request = Method(classifiers.train_request)
    labeled_source = Method(labeled.labeled_source)

    distill = Starter(distillation.distill)
    distill_request = Method(distillation.distill_request)
    corpus_source = Method(texts.corpus_source)

    estimate_cost = Method(costs.estimate_cost)
    estimate_accuracy = Method(costs.estimate_accuracy)
    estimate_ledger = Stream(costs.estimate_ledger)
    list_devices = Method(costs.list_devices)
    start = Starter(starting.start)

    import_model = Starter(imports.import_model)
    model_source = Method(imports.model_source)
    push = Starter(imports.push)
    pull = Starter(imports.pull)
    verify = Starter(imports.verify)
    collect_garbage = Starter(imports.collect_garbage)

    list_models = Stream(models.list_models)
    get_model = Method(models.get_model)
    update_model = Method(models.update_model)
    delete_model = Method(models.delete_model)
    list_versions = Stream(models.list_versions)
    get_version = Method(models.get_version)
    delete_version = Method(models.delete_version)
    set_alias = Method(models.set_alias)
    delete_alias = Method(models.delete_alias)
    roll_back_alias = Method(models.roll_back_alias)
    list_alias_events = Stream(models.list_alias_events)
    get_lineage = Method(models.get_lineage)
    download = Method(downloads.download)
    read_file = Method(downloads.read_file)
    copy_model = Method(copying.copy_model)

    upload = Method(uploads.upload)
    get_upload = Method(uploads.get_upload)
    delete_upload = Method(uploads.delete_upload)

    get_operation = Starter(operations.get_operation)
    list_operations = Stream(operations.list_operations)
    cancel_operation = Method(operations.cancel_operation)
    delete_operation = Method(operations.delete_operation)
    wait_operation = Method(operations.wait_operation)
    watch_operation = Stream(operations.watch_operation)

    server_info = Method(server.server_info)


class Client(_Api, BlockingFace):
    """A blocking client; threads may share it. Close it, or use it in a ``with`` block.

    >>> with Client() as client:
    ...     vectors = client.embed(["one text", "another"], model="mini")
    """

    _transport_class = BlockingTransport

    def close(self) -> None:
        """Closes the connection; calls in flight in other threads end with Cancelled."""
        run(self._subject.transport.close())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


class AsyncClient(_Api, AsyncFace):
    """An asyncio client with the methods of ``Client``; what yields there is an async iterator
    here.

    >>> async with AsyncClient() as client:
    ...     vectors = await client.embed(["one text", "another"], model="mini")
    """

    _transport_class = AsyncTransport

    async def close(self) -> None:
        """Closes the connection; calls in flight end with Cancelled."""
        await self._subject.transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self.close()


def _check_timeout(timeout: float | None) -> None:
    if timeout is not None and not timeout > 0:
        raise InvalidArgument("timeout is a number of seconds above 0, or None", field="timeout")
