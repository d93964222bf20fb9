"""Keeps a runner process while there is work for one."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import sys
import time
from collections.abc import Awaitable, Mapping
from pathlib import Path
from typing import Any

from stillroom_registry.errors import StillroomError
from stillroom_server.operations.backoff import Backoff
from stillroom_server.operations.pace import Pace, message
from stillroom_server.operations.process import DEFAULT_EXECUTORS, SETTINGS_KEY
from stillroom_server.operations.settings import OperationsSettings
from stillroom_server.operations.store import OperationStore

_log = logging.getLogger(__name__)
_POLL_SECONDS = 0.1
_LOOK_SECONDS = 1.0  # leases run out without a commit, so look now and then
_KILL_SECONDS = 2.0  # beyond the runner's own grace time
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "RAYON_NUM_THREADS",
)


class RunnerSupervisor:
    """Starts a runner when an operation waits, and another when it dies; lives in the front.

    ``executor_settings`` is a JSON object for the executors; it travels through the pipe that is
    the runner's standard input, so secrets in it show in no list of processes. The pipe stays open
    as long as this process lives: its end tells the runner to go. ``pace``, if given, says how many
    threads the runner may use while it runs. ``start`` and ``stop`` are called
    once each, in one event loop.
    """

    def __init__(
        self,
        store: OperationStore,
        data_dir: Path,
        settings: OperationsSettings | None = None,
        executor_settings: Mapping[str, Any] | None = None,
        *,
        pace: Pace | None = None,
        executors: str = DEFAULT_EXECUTORS,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._store = store
        self._pace = pace
        self._settings = settings or OperationsSettings()
        self._arguments = [
            "-m",
            "stillroom_server.operations.runner",
            "--data-dir",
            str(data_dir),
            "--settings-json",
            "-",
            "--executors",
            executors,
        ]
        settings_json = {**(executor_settings or {}), SETTINGS_KEY: self._settings.model_dump()}
        self._settings_line = json.dumps(settings_json).encode() + b"\n"
        threads = dict.fromkeys(_THREAD_VARIABLES, str(self._settings.threads))
        self._environment = {**(os.environ if environment is None else environment), **threads}
        self._backoff = Backoff(self._settings.restart_seconds, self._settings.max_restart_seconds)
        self._stopping = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def runner_pid(self) -> int | None:
        """The process id of the runner, or None while none runs."""
        return self._process.pid if self._process is not None else None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._supervise(), name="runner-supervisor")

    async def stop(self) -> None:
        """End the runner, which releases what it was executing; returns when it is gone."""
        self._stopping.set()
        if self._task is not None:
            await self._task

    async def _supervise(self) -> None:
        while not self._stopping.is_set():
            try:
                await self._until_work()
                await self._sleep(self._backoff.pause)
                if not self._stopping.is_set():
                    await self._run_one()
            except (StillroomError, OSError) as error:
                # A full disk, a busy database, no process to be had: serving goes on meanwhile.
                _log.warning("cannot run operations: %s; trying again", error)
                await self._sleep(_LOOK_SECONDS)
            except Exception:
                _log.exception("the supervisor of operations failed; trying again")
                await self._sleep(_LOOK_SECONDS)

    async def _until_work(self) -> None:
        version: int | None = None
        look_time = 0.0
        while not self._stopping.is_set():
            current = self._store.data_version()
            if current != version or time.monotonic() >= look_time:
                version, look_time = current, time.monotonic() + _LOOK_SECONDS
                if await asyncio.to_thread(self._store.claimable):
                    return
            await self._sleep(_POLL_SECONDS)

    async def _run_one(self) -> None:
        """Start a runner, and return when it has ended, which ``stop`` brings about."""
        started = time.monotonic()
        self._process = process = await asyncio.create_subprocess_exec(
            sys.executable,
            *self._arguments,
            stdin=asyncio.subprocess.PIPE,
            # Standard output is the front's, for one line of its own; all else is log.
            stdout=2,
            env=self._environment,
            # Ctrl-C in a terminal goes to its whole process group; it is the front that decides.
            start_new_session=True,
        )
        try:
            await self._send(process, self._settings_line)
            telling = asyncio.create_task(self._tell_pace(process))
            await self._first(process.wait())
            telling.cancel()
        finally:
            status = await self._end(process)
            self._process = None
        self._backoff.ended(status, time.monotonic() - started)
        if status != 0:
            _log.warning(
                "the runner (process %d) ended with status %d; next start in %.1f s",
                process.pid,
                status,
                self._backoff.pause,
            )
        # Its claims are free at once, not only when their leases run out.
        await asyncio.to_thread(self._store.reap)

    async def _tell_pace(self, process: asyncio.subprocess.Process) -> None:
        told = None
        while self._pace is not None and process.returncode is None:
            threads = self._pace.threads()
            if threads != told:
                await self._send(process, message(threads))
                told = threads
            await asyncio.sleep(_POLL_SECONDS)

    async def _send(self, process: asyncio.subprocess.Process, line: bytes) -> None:
        assert process.stdin is not None
        # A runner that died already is reported by its status, not by a broken pipe, for which
        # uvloop raises RuntimeError.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError, RuntimeError):
            process.stdin.write(line)
            await process.stdin.drain()

    async def _end(self, process: asyncio.subprocess.Process) -> int:
        """SIGTERM, then SIGKILL when that is of no use in time; the exit status."""
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            try:
                patience = self._settings.stop_grace_seconds + _KILL_SECONDS
                await asyncio.wait_for(process.wait(), patience)
            except TimeoutError:
                _log.warning("the runner (process %d) does not stop; killing it", process.pid)
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
        assert process.stdin is not None
        process.stdin.close()
        return await process.wait()

    async def _first(self, awaitable: Awaitable[object]) -> None:
        """Wait for ``awaitable`` or for ``stop``, whichever comes first."""
        waited = asyncio.ensure_future(awaitable)
        stopped = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait((waited, stopped), return_when=asyncio.FIRST_COMPLETED)
        finally:
            waited.cancel()
            stopped.cancel()

    async def _sleep(self, seconds: float) -> None:
        if seconds > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), seconds)
