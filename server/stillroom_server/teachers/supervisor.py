"""Keeps at most one engine process, started when somebody needs it."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import logging
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from stillroom_registry.errors import FailedPrecondition, StillroomError, Unavailable
from stillroom_server.operations.backoff import Backoff
from stillroom_server.teachers.link import EngineLink
from stillroom_server.teachers.settings import EngineSettings, available_cores

Connect = Callable[[Path], EngineLink]
_MODULE = "stillroom_server.teachers.engine"
_READY = b"ready\n"
_START_SECONDS = 120.0  # importing torch from a cold disk
_STOP_SECONDS = 3.0
_PATIENCE_SECONDS = 2.0  # a caller waits so long for a restart, and is refused beyond
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
_MAX_SOCKET_PATH = 100  # bytes; the system's limit is 108 or less
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_log = logging.getLogger(__name__)


class EngineSupervisor:
    """Lives in the front's event loop. ``on_death`` hears of each engine that ended unasked."""

    def __init__(
        self,
        settings: EngineSettings,
        connect: Connect,
        *,
        on_death: Callable[[], None] = lambda: None,
        environment: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._connect = connect
        self._on_death = on_death
        self._environment = dict(os.environ if environment is None else environment)
        self._clock = clock
        self._backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
        self._not_before = 0.0
        self._engine: EngineProcess | None = None
        self._starting: asyncio.Task[EngineProcess] | None = None
        self._watchers: set[asyncio.Task[None]] = set()
        self._stopped = False

    @property
    def pid(self) -> int | None:
        """The process id of the engine, or None while none runs."""
        return self._engine.pid if self._engine else None

    @property
    def link(self) -> EngineLink | None:
        """The connection to the engine that runs, if one does."""
        return self._engine.link if self._engine else None

    async def get(self) -> EngineLink:
        """A connection to the engine, which is started if need be.

        Raises FailedPrecondition (TEACHERS_NOT_INSTALLED), Unavailable while an engine that keeps
        dying is given a rest. Cancelling a waiter leaves the start alone.
        """
        if self._engine is not None:
            return self._engine.link
        if self._starting is None:
            self._starting = asyncio.create_task(self._start(), name="start teacher engine")
            self._starting.add_done_callback(self._started)
        return (await asyncio.shield(self._starting)).link

    async def stop(self) -> None:
        """Ends the engine, for good."""
        self._stopped = True
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.gather(self._starting, return_exceptions=True)
        await self.retire()

    def kill(self) -> None:
        """Ends an engine that hangs: as if it had died, so its requests get Unavailable and the
        next one starts another."""
        if self._engine is not None:
            _log.error(
                "the teacher engine (process %d) has work and shows no life; killing it",
                self._engine.pid,
            )
            self._engine.kill()

    async def retire(self) -> None:
        """Ends the engine; the next ``get`` starts another."""
        engine, self._engine = self._engine, None
        if engine is not None:
            await engine.stop()
            _log.info("the teacher engine (process %d) has ended", engine.pid)
        await asyncio.gather(*self._watchers)

    async def _start(self) -> EngineProcess:
        if self._stopped:
            raise Unavailable("the server is stopping", reason="TEACHER_ENGINE_LOST")
        if importlib.util.find_spec("torch") is None:
            raise FailedPrecondition(
                "this server cannot run teachers, as torch is not installed; install"
                " stillroom[train], or use a student",
                reason="TEACHERS_NOT_INSTALLED",
                field="model",
            )
        pause = self._not_before - self._clock()
        if pause > _PATIENCE_SECONDS:
            raise Unavailable(
                f"the teacher engine died {pause:.0f} s before its next start; see the log",
                reason="TEACHER_ENGINE_RESTING",
                retry_after=pause,
            )
        if pause > 0:
            await asyncio.sleep(pause)
        try:
            engine = await EngineProcess.start(self._settings, self._connect, self._environment)
        except StillroomError:
            self._died(1, 0.0)
            raise
        self._engine = engine
        watcher = asyncio.create_task(self._watch(engine, self._clock()), name="teacher engine")
        self._watchers.add(watcher)
        watcher.add_done_callback(self._watchers.discard)
        return engine

    def _started(self, task: asyncio.Task[EngineProcess]) -> None:
        self._starting = None
        if not task.cancelled():
            task.exception()  # every waiter may have left

    async def _watch(self, engine: EngineProcess, started: float) -> None:
        status = await engine.wait()
        if self._engine is not engine:
            return  # asked to end
        self._engine = None
        self._died(status, self._clock() - started)
        _log.warning(
            "the teacher engine (process %d) ended with status %d; next start not before %.1f s",
            engine.pid,
            status,
            self._backoff.pause,
        )
        await engine.stop()

    def _died(self, status: int, lived: float) -> None:
        # An engine that ended unasked has died, whatever its status.
        self._backoff.ended(status or 1, lived)
        self._not_before = self._clock() + self._backoff.pause
        self._on_death()


class EngineProcess:
    """One life of the engine, made by ``start``."""

    def __init__(self, process: asyncio.subprocess.Process, folder: Path, link: EngineLink) -> None:
        self._process = process
        self._folder = folder
        self.link = link
        self.pid = process.pid

    @classmethod
    async def start(
        cls, settings: EngineSettings, connect: Connect, environment: Mapping[str, str]
    ) -> EngineProcess:
        """Returns when it listens. Raises Unavailable (TEACHER_ENGINE_FAILED)."""
        folder = private_folder()
        socket = folder / "engine.sock"
        threads = str(settings.threads or available_cores())
        process: asyncio.subprocess.Process | None = None
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                _MODULE,
                str(socket),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env={**environment, **dict.fromkeys(_THREAD_VARIABLES, threads)},
                # Ctrl-C goes to a terminal's whole process group; it is the front that decides.
                start_new_session=True,
            )
            _log.info("starting the teacher engine (process %d)", process.pid)
            await asyncio.wait_for(_greet(process, settings), _START_SECONDS)
        except BaseException as error:
            if process is not None and process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
            shutil.rmtree(folder, ignore_errors=True)
            if isinstance(error, OSError | TimeoutError):
                raise Unavailable(
                    f"the teacher engine does not start ({error!r}); see the log",
                    reason="TEACHER_ENGINE_FAILED",
                    retry_after=_FIRST_PAUSE,
                ) from error
            raise
        return cls(process, folder, connect(socket))

    async def wait(self) -> int:
        """Its exit status, once it has ended."""
        return await self._process.wait()

    def kill(self) -> None:
        """Ends it at once; ``wait`` tells when it has."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def stop(self) -> None:
        """Ends it and removes what it leaves."""
        await self.link.close()
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), _STOP_SECONDS)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


async def _greet(process: asyncio.subprocess.Process, settings: EngineSettings) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    # One that died already is reported as such, not by a broken pipe, for which uvloop raises
    # RuntimeError.
    with contextlib.suppress(RuntimeError):
        process.stdin.write(settings.model_dump_json().encode() + b"\n")
        await process.stdin.drain()
    if await process.stdout.readline() != _READY:
        raise OSError("it ended before it was ready")


def private_folder() -> Path:
    """A new folder that only this user can enter, short enough for the path of a socket in it."""
    for parent in (os.environ.get("XDG_RUNTIME_DIR"), None, "/tmp"):
        try:
            folder = Path(tempfile.mkdtemp(prefix="stillroom-", dir=parent or None))
        except OSError:
            continue
        if len(os.fsencode(folder / "engine.sock")) < _MAX_SOCKET_PATH:
            return folder
        folder.rmdir()
    raise Unavailable(
        "there is no folder for the teacher engine's socket: its path would exceed"
        f" {_MAX_SOCKET_PATH} bytes; set TMPDIR to a shorter one",
        reason="TEACHER_ENGINE_FAILED",
        retry_after=_LONGEST_PAUSE,
    )
