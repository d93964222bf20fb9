"""A server whose disk is full: it says so, keeps serving, loses nothing, and recovers."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from google.longrunning import operations_pb2
from imports import folders
from inference.students import write_student
from safetensors.numpy import save_file
from serving import Details

from faults.ledger import sha256
from faults.processes import ServerProcess
from stillroom.v1 import embedding_service_pb2 as pb
from stillroom.v1 import model_service_pb2, upload_service_pb2

SIZE = 32 << 20
DISK = """
import subprocess, sys
subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={sys.argv[2]}", "none", sys.argv[1]],
               check=True)
print("mounted", flush=True)
sys.stdin.read()
"""


class Disk:
    """A small file system of its own at ``path``, seen only by who enters its namespace."""

    def __init__(self, path: Path) -> None:
        path.mkdir()
        self._holder = subprocess.Popen(
            [*_unshare(), sys.executable, "-c", DISK, str(path), str(SIZE)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != b"mounted\n":
            self.close()
            pytest.skip("this machine allows no file systems of one's own")
        pid = str(self._holder.pid)
        self.prefix = ("nsenter", f"--target={pid}", "--user", "--mount", "--preserve-credentials")
        self._filler = Path(f"/proc/{pid}/root") / str(path / "filler").lstrip("/")

    def fill(self) -> None:
        """Leaves no byte free."""
        with self._filler.open("ab", buffering=0) as file:
            for size in (1 << 20, 1 << 12, 1):
                try:
                    while True:
                        file.write(b"\0" * size)
                except OSError:
                    continue

    def free(self) -> None:
        self._filler.unlink(missing_ok=True)

    def close(self) -> None:
        self._holder.communicate(b"")


def _unshare() -> list[str]:
    tool = shutil.which("unshare")
    if tool is None or shutil.which("nsenter") is None:
        pytest.skip("needs unshare and nsenter")
    return [tool, "--user", "--map-root-user", "--mount"]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    made = Disk(tmp_path / "disk")
    yield made
    made.close()


def upload(server: ServerProcess, data: bytes) -> str:
    def messages() -> Iterator[upload_service_pb2.UploadRequest]:
        header = upload_service_pb2.UploadHeader(total_bytes=len(data), digest=sha256(data))
        yield upload_service_pb2.UploadRequest(header=header)
        for start in range(0, len(data), 1 << 20):
            yield upload_service_pb2.UploadRequest(chunk=data[start : start + (1 << 20)])

    info = server.uploads.Upload(messages()).upload
    assert (info.complete, info.digest) == (True, sha256(data))
    name: str = info.name
    return name


def import_model(server: ServerProcess, name: str, folder: Path) -> operations_pb2.Operation:
    """The ended operation of importing ``folder`` as a version of ``name``."""
    request = model_service_pb2.ImportModelRequest(name=name, source={"path": str(folder)})
    operation = server.models.ImportModel(request)
    wait = operations_pb2.WaitOperationRequest(name=operation.name, timeout={"seconds": 240})
    ended: operations_pb2.Operation = server.operations.WaitOperation(wait)
    assert ended.done
    return ended


def embeds(server: ServerProcess) -> bool:
    answer = server.embedding.Embed(pb.EmbedRequest(model="s", texts=["my card"]))
    return list(answer.embeddings.token_counts) == [2]


def is_full(error: grpc.RpcError) -> bool:
    details = Details(error)
    return (details.code.name, details.info.reason) == ("RESOURCE_EXHAUSTED", "DISK_FULL")


@pytest.mark.slow
def test_a_full_disk(disk: Disk, tmp_path: Path) -> None:
    folder = write_student(tmp_path / "root" / "student")
    large = folders.transformer(tmp_path / "root" / "large")
    rows = np.ones((folders.CONFIG["vocab_size"], 8), np.float32)
    tensors = {"embeddings.word_embeddings.weight": rows, "more": np.zeros(SIZE * 3 // 4, np.int8)}
    save_file(tensors, large / "model.safetensors")
    data, log = tmp_path / "disk" / "data", tmp_path / "log"
    flags = ("--allow-root", str(tmp_path / "root"))
    with ServerProcess(data, log, *flags, prefix=disk.prefix) as server:
        assert not import_model(server, "s", folder).HasField("error")
        kept = upload(server, b"kept" * 1000)
        assert embeds(server)

        # It fits while it is copied, and no longer when it is stored.
        failed = import_model(server, "t", large)
        assert Details(failed.error).info.reason == "DISK_FULL"

        disk.fill()
        with pytest.raises(grpc.RpcError) as caught:
            upload(server, b"more" * 1000)
        assert is_full(caught.value)
        refused = changes_that_are_refused(server)
        assert refused
        assert all(is_full(error) for error in refused)
        assert embeds(server)

        # Killed with no byte free, it starts again and serves.
        server.kill()
    with ServerProcess(data, log, *flags, prefix=disk.prefix) as server:
        assert embeds(server)
        listed = server.models.ListModelVersions(
            model_service_pb2.ListModelVersionsRequest(parent="s")
        )
        assert [version.version for version in listed.model_versions] == [1]

        disk.free()
        info = server.uploads.GetUpload(upload_service_pb2.GetUploadRequest(name=kept)).upload
        assert info.complete
        upload(server, b"more" * 1000)
        assert not import_model(server, "s", folder).HasField("error")
        assert embeds(server)
        assert server.stop() == 0


def changes_that_are_refused(server: ServerProcess) -> list[grpc.RpcError]:
    """Errors of writes to the database, which may find a little room in its own file at first."""
    refused = []
    for number in range(200):
        request = model_service_pb2.SetModelAliasRequest(
            model="s", alias=f"alias-{number}" + "x" * 40, version=1
        )
        try:
            server.models.SetModelAlias(request)
        except grpc.RpcError as error:
            refused.append(error)
            if len(refused) > 2:
                break
    return refused
