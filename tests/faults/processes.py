"""A server as a process of its own, and what the kernel knows of it and its runner."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc
from google.longrunning.operations_pb2_grpc import OperationsStub

from stillroom.v1.classification_service_pb2_grpc import ClassificationServiceStub
from stillroom.v1.distillation_service_pb2_grpc import DistillationServiceStub
from stillroom.v1.embedding_service_pb2_grpc import EmbeddingServiceStub
from stillroom.v1.model_service_pb2_grpc import ModelServiceStub
from stillroom.v1.upload_service_pb2_grpc import UploadServiceStub

REPOSITORY = Path(__file__).parents[2]
SECONDS = 240.0  # longer than anything here takes on a busy machine
_SERVE = "import sys; from stillroom_server.app import main; sys.exit(main(sys.argv[1:]))"
_UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


def environment() -> dict[str, str]:
    """This environment, with the packages and the tests to be found."""
    folders = ("client/python", "registry", "server", "tests")
    return {**os.environ, "PYTHONPATH": ":".join(str(REPOSITORY / name) for name in folders)}


def until(condition: Callable[[], Any], seconds: float = SECONDS) -> None:
    """Polls another process's work; there is no clock to inject into it."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


class ServerProcess:
    """``stillroom serve`` on a free port, with its stubs. Killed at the end of the block.

    ``prefix`` is put before the command, such as ``nsenter``. Standard error goes to a file, for a
    pipe that nobody reads would stop the server.
    """

    def __init__(self, data_dir: Path, log: Path, *flags: str, prefix: Sequence[str] = ()) -> None:
        self.data_dir = data_dir
        self._log = log
        self._errors = log.open("ab")
        self.process = subprocess.Popen(
            [
                *(*prefix, sys.executable, "-c", _SERVE, "--data-dir", str(data_dir)),
                *("--address", "127.0.0.1:0", "--metrics-address", "", *flags),
            ],
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment(),
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("stillroom ready "), self.log()
        self.address = dict(pair.split("=", 1) for pair in line.split()[2:])["address"]
        self.channel = grpc.insecure_channel(self.address, options=_UNLIMITED)
        self.models = ModelServiceStub(self.channel)
        self.operations = OperationsStub(self.channel)
        self.classification = ClassificationServiceStub(self.channel)
        self.distillation = DistillationServiceStub(self.channel)
        self.uploads = UploadServiceStub(self.channel)
        self.embedding = EmbeddingServiceStub(self.channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        runner = self.runner()
        self.kill()
        if runner is not None:
            until(lambda: not Path(f"/proc/{runner}/cmdline").exists())

    def log(self) -> str:
        """What it wrote to standard error so far."""
        return self._log.read_text(errors="replace")

    def runner(self) -> int | None:
        """The process id of this data directory's runner, if one runs."""
        wanted = os.fsencode(self.data_dir)
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = path.read_bytes().split(b"\0")
            except OSError:
                continue
            if b"stillroom_server.operations.runner" in words and wanted in words:
                return int(path.parent.name)
        return None

    def rss(self) -> int:
        """Bytes of memory that the front has resident."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def kill(self) -> None:
        """SIGKILL; returns when it is gone. The runner, orphaned, ends by itself."""
        self.channel.close()
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._errors.close()

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(SECONDS)
