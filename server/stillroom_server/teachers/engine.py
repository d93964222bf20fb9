"""The teacher engine as a process, where torch lives; the front starts it and never imports it.

    python -m stillroom_server.teachers.engine SOCKET

Its settings are one line of JSON on standard input. It says ``ready`` on standard output when it
listens, and ends when standard input does: whoever holds the other end of that pipe is gone, or
wants it so. It ends without Python's teardown, which would wait for a batch under way.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import NoReturn, cast

from stillroom_server.observability.logging import LogFormat
from stillroom_server.observability.logging import configure as configure_logging
from stillroom_server.teachers.compute import Computer
from stillroom_server.teachers.host import EngineHost, ServedTeacher
from stillroom_server.teachers.queue import WorkQueue
from stillroom_server.teachers.settings import EngineSettings, available_cores
from stillroom_server.teachers.shelf import Shelf
from stillroom_server.teachers.transport.servicer import serve

READY = b"ready\n"
_MAX_SETTINGS_BYTES = 1 << 20
_TICK_SECONDS = 1.0
_PATIENCE_SECONDS = 5.0
# Padded tokens of a batch, and what one more forward pass costs in tokens. On a CPU, 256 to 1,536
# tokens are equally fast and more are slower, as what is between two layers leaves the cache; small
# batches also let the next caller in sooner. A GPU wants thousands of rows.
_CPU_TOKENS, _CPU_PASS = 1024, 64
_CUDA_TOKENS, _CUDA_PASS = 65_536, 2048
_log = logging.getLogger(__name__)


def main(arguments: list[str]) -> NoReturn:
    """Run to the end of the process; exit status 0, or 1 when it could not begin."""
    socket = Path(arguments[0])
    try:
        settings = EngineSettings.model_validate_json(
            sys.stdin.buffer.readline(_MAX_SETTINGS_BYTES)
        )
        configure_logging(cast(LogFormat, settings.log_format), settings.log_level)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the front decides when a terminal says so
        asyncio.run(_serve(settings, socket))
    except BaseException:
        _log.exception("the teacher engine failed")
    _exit(1, socket)


async def _serve(settings: EngineSettings, socket: Path) -> None:
    loop, end = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, end.set)
    threading.Thread(target=_stop_at_end, args=(loop, end), name="stdin", daemon=True).start()
    await asyncio.to_thread(_prepare_torch, settings)
    cuda = _has_cuda(settings)
    queue = WorkQueue(
        settings.batch_tokens or (_CUDA_TOKENS if cuda else _CPU_TOKENS),
        _CUDA_PASS if cuda else _CPU_PASS,
    )
    computer = Computer(queue)
    computer.start()
    host = EngineHost(_shelf(settings, cuda), computer)
    server = await serve(host, socket)
    os.write(1, READY)
    os.dup2(2, 1)  # what libraries print is log
    while not end.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(end.wait(), _TICK_SECONDS)
        host.unload_idle()
    await server.stop(None)  # and so it lives until here
    _exit(0, socket)  # at once: the end of asyncio.run would wait for a load under way


def _prepare_torch(settings: EngineSettings) -> None:
    start = time.monotonic()
    import torch

    torch.set_num_threads(settings.threads or available_cores())
    torch.set_grad_enabled(False)
    _log.debug("imported torch in %.1f s", time.monotonic() - start)


def _has_cuda(settings: EngineSettings) -> bool:
    import torch

    return settings.device != "cpu" and torch.cuda.is_available()


def _shelf(settings: EngineSettings, cuda: bool) -> Shelf[ServedTeacher]:
    from stillroom_server.teachers.torch_teacher import TorchTeacher, estimate_bytes

    def load(name: str, folder: Path) -> ServedTeacher:
        return TorchTeacher.load(name, folder, settings)

    return Shelf(
        load,
        partial(estimate_bytes, settings=settings),
        budget_bytes=settings.memory_bytes or _device_memory(cuda) // 2,
        idle_seconds=settings.idle_seconds,
        retry_seconds=settings.retry_seconds,
    )


def _device_memory(cuda: bool) -> int:
    if cuda:
        import torch

        return int(torch.cuda.get_device_properties(0).total_memory)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _stop_at_end(loop: asyncio.AbstractEventLoop, end: asyncio.Event) -> None:
    while sys.stdin.buffer.read(1 << 16):
        pass
    with contextlib.suppress(RuntimeError):  # the loop has ended by itself
        loop.call_soon_threadsafe(end.set)
    time.sleep(_PATIENCE_SECONDS)
    os._exit(1)


def _exit(status: int, socket: Path) -> NoReturn:
    # A front that was killed cannot remove the socket and its folder.
    with contextlib.suppress(OSError):
        socket.unlink(missing_ok=True)
        socket.parent.rmdir()
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    main(sys.argv[1:])
