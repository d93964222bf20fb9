"""What a server acknowledged, and whether another one on the same data still has it."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

import grpc
from google.longrunning import operations_pb2

from faults.processes import ServerProcess
from stillroom.v1 import (
    classification_service_pb2,
    distillation_service_pb2,
    model_service_pb2,
    upload_service_pb2,
)

CHUNK = 16_384
PAGE = 1000
ALIASED, ALIAS = "a", "production"
RESPONSES = {
    "import": model_service_pb2.ImportModelResponse,
    "distill": distillation_service_pb2.DistillResponse,
    "train": classification_service_pb2.TrainClassifierResponse,
}


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@dataclass
class Launch:
    """A request for an operation of a kind in ``RESPONSES``; the same ``request_id`` each time it
    is sent."""

    kind: str
    request: Any
    operation: str | None = None

    def send(self, server: ServerProcess) -> str:
        services = {
            "import": server.models.ImportModel,
            "distill": server.distillation.Distill,
            "train": server.classification.TrainClassifier,
        }
        name: str = services[self.kind](self.request).name
        return name


@dataclass
class Ledger:
    """Writes, remembered when the answer has arrived; what was under way may be there or not."""

    choose: Random
    imports: dict[str, str]  # model to import into -> folder
    complete: dict[str, str] = field(default_factory=dict)  # upload -> digest
    begun: dict[str, bytes] = field(default_factory=dict)  # upload -> all of its bytes
    alias: int | None = None
    alias_under_way: int | None = None
    launches: list[Launch] = field(default_factory=list)
    whole: set[str] = field(default_factory=set)  # versions that were downloaded and right
    acknowledged: int = 0

    # Writing

    def write(self, server: ServerProcess) -> None:
        """One write of any kind."""
        actions: list[Callable[[ServerProcess], None]] = [self.upload, self.point, self.launch]
        self.choose.choices(actions, [5, 5, 1])[0](server)
        self.acknowledged += 1

    def launch(self, server: ServerProcess) -> None:
        """An import, a distillation or a training, unless enough of them wait."""
        pending = operations_pb2.ListOperationsRequest(filter="state=pending")
        if len(server.operations.ListOperations(pending).operations) > 1:
            return
        name = self.choose.choice(["d", "c", *self.imports])
        own = {"d": self.distilling, "c": self.training}
        # Remembered before it is sent: it may have arrived though no answer did.
        self.launches.append(own[name]() if name in own else self.importing(name))
        self.launches[-1].operation = self.launches[-1].send(server)

    def distilling(self) -> Launch:
        """A request for one more student of the teacher."""
        request = distillation_service_pb2.DistillRequest(
            name="d", teacher="t", request_id=self._request_id(), static={"dimensions": 16}
        )
        return Launch("distill", request)

    def training(self) -> Launch:
        """A request for one more classifier on the student that the alias is of."""
        examples = [
            classification_service_pb2.LabeledExample(text=f"{word} {more}", labels=[label])
            for label, word in (("yes", "card"), ("no", "money"), ("perhaps", "help"))
            for more in ("account", "change", "pin", "code", "fee", "top", "up", "failed")
        ]
        request = classification_service_pb2.TrainClassifierRequest(
            name="c", encoder=ALIASED, request_id=self._request_id()
        )
        request.data.examples.values.extend(examples)
        return Launch("train", request)

    def importing(self, name: str) -> Launch:
        """A request for one more version of the model."""
        request = model_service_pb2.ImportModelRequest(
            name=name, source={"path": self.imports[name]}, request_id=self._request_id()
        )
        return Launch("import", request)

    def _request_id(self) -> str:
        return str(uuid.UUID(int=self.choose.getrandbits(128)))

    def point(self, server: ServerProcess) -> None:
        """Moves the alias to any version there is."""
        numbers = [v.version for v in versions(server, ALIASED)]
        self.alias_under_way = self.choose.choice(numbers)
        server.models.SetModelAlias(
            model_service_pb2.SetModelAliasRequest(
                model=ALIASED, alias=ALIAS, version=self.alias_under_way
            )
        )
        self.alias = self.alias_under_way

    def upload(self, server: ServerProcess) -> None:
        self._send(server, "", 0, self.choose.randbytes(self.choose.randrange(1, 12 * CHUNK)))

    def _send(self, server: ServerProcess, name: str, offset: int, data: bytes) -> None:
        header = upload_service_pb2.UploadHeader(
            upload=name, offset=offset, total_bytes=len(data), digest=sha256(data)
        )

        def messages() -> Iterator[upload_service_pb2.UploadRequest]:
            yield upload_service_pb2.UploadRequest(header=header)
            for start in range(offset, len(data), CHUNK):
                yield upload_service_pb2.UploadRequest(chunk=data[start : start + CHUNK])

        call = server.uploads.Upload.future(messages())
        named = dict(call.initial_metadata()).get("stillroom-upload")
        if named:
            self.begun[named] = data
        info = call.result().upload
        assert (info.complete, info.digest) == (True, sha256(data))
        del self.begun[info.name]
        self.complete[info.name] = info.digest

    # Looking

    def check(self, server: ServerProcess) -> None:
        """Everything that was acknowledged is there, and nothing is half there."""
        self._check_uploads(server)
        self._check_alias(server)
        for launch in self.launches:
            name = launch.send(server)
            assert launch.operation in (None, name), "the same request made two operations"
            launch.operation = name
        for model in models(server):
            for version in versions(server, model):
                if version.name not in self.whole:
                    check_download(server, version)
                    self.whole.add(version.name)

    def _check_uploads(self, server: ServerProcess) -> None:
        for name, digest in self.complete.items():
            info = state_of(server, name)
            assert (info.complete, info.digest) == (True, digest)
        for name, data in list(self.begun.items()):
            info = state_of(server, name)
            assert info.committed_bytes <= len(data)
            if info.complete:
                assert info.digest == sha256(data)
                self.complete[name] = info.digest
                del self.begun[name]
            else:
                self._send(server, name, info.committed_bytes, data)

    def _check_alias(self, server: ServerProcess) -> None:
        request = model_service_pb2.GetModelRequest(name=ALIASED)
        found = server.models.GetModel(request).model.aliases.get(ALIAS)
        assert found in (self.alias, self.alias_under_way)
        self.alias = self.alias_under_way = found


def state_of(server: ServerProcess, upload: str) -> upload_service_pb2.UploadInfo:
    request = upload_service_pb2.GetUploadRequest(name=upload)
    info: upload_service_pb2.UploadInfo = server.uploads.GetUpload(request).upload
    return info


def models(server: ServerProcess) -> list[str]:
    request = model_service_pb2.ListModelsRequest(page_size=PAGE)
    return [model.name for model in server.models.ListModels(request).models]


def versions(server: ServerProcess, model: str) -> list[Any]:
    request = model_service_pb2.ListModelVersionsRequest(parent=model, page_size=PAGE)
    return list(server.models.ListModelVersions(request).model_versions)


def check_download(server: ServerProcess, version: Any) -> None:
    """Every file of the version arrives with the digest that the registry tells."""
    request = model_service_pb2.DownloadModelVersionRequest(name=version.name)
    found: dict[str, bytes] = {}
    path = ""
    for part in server.models.DownloadModelVersion(request):
        if part.WhichOneof("payload") == "file":
            path = part.file.path
            found[path] = b""
        elif part.WhichOneof("payload") == "chunk":
            found[path] += part.chunk
    assert {path: sha256(data) for path, data in found.items()} == {
        file.path: file.digest for file in version.files
    }


def was_killed(error: grpc.RpcError) -> bool:
    """Whether this is what a call gets whose server dies."""
    return error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
