"""Tries a tokenizer that nobody vouches for, in a process of its own with little time and memory.

A tokenizer.json is a program of regular expressions for a native library: one that never ends, eats
the memory or crashes must not take the server along.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from stillroom_registry.errors import InvalidArgument

TIME_LIMIT = 60.0  # seconds; the largest vocabularies in use take about 3
MEMORY_LIMIT = 4 << 30  # bytes of address space
_TICK = 0.1  # seconds
_CHILD = "stillroom_server.imports.probe_child"
_KEPT = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "LANG", "SYSTEMROOT")


@dataclass(frozen=True)
class ProbedTokenizer:
    """``vocabulary``: tokens, added ones included; ``model``: WordPiece, BPE, Unigram, WordLevel;
    ``unk_id``: None where every byte is known."""

    vocabulary: int
    model: str
    unk_id: int | None


def probe_tokenizer(
    path: Path,
    *,
    time_limit: float = TIME_LIMIT,
    memory_limit: int = MEMORY_LIMIT,
    on_wait: Callable[[], None] = lambda: None,
) -> ProbedTokenizer:
    """Loads tokenizer.json in a subprocess and encodes texts that are known to hurt.

    ``on_wait`` is called ten times a second and may raise to stop. Raises
    InvalidArgument(TOKENIZER_PROBE_FAILED), ``cause`` in the metadata being ``timeout``, ``crash``
    or ``error``.
    """
    seconds = math.ceil(time_limit) + 1  # of CPU, should this process die before it can kill
    command = [sys.executable, "-m", _CHILD, str(path), str(memory_limit), str(seconds)]
    status, output = _run(command, time_limit, on_wait)
    if status != 0:
        raise _failed("crash", f"the process ended with status {status}")
    try:
        answer = json.loads(output)
    except ValueError as error:
        raise _failed("crash", "the process gave no answer") from error
    if "error" in answer:
        raise _failed("error", answer["error"])
    return ProbedTokenizer(**answer)


def _run(command: list[str], time_limit: float, on_wait: Callable[[], None]) -> tuple[int, bytes]:
    environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
    # One thread: each costs address space, and the limit is for the tokenizer.
    environment |= {"TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1"}
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
    ) as process:
        try:
            for _ in range(max(1, math.ceil(time_limit / _TICK))):
                with contextlib.suppress(subprocess.TimeoutExpired):
                    output, _ = process.communicate(timeout=_TICK)
                    return process.returncode, output
                on_wait()
            raise _failed("timeout", f"it took more than {time_limit:g} seconds")
        finally:
            process.kill()


def _failed(cause: str, how: str) -> InvalidArgument:
    return InvalidArgument(
        f"tokenizer.json failed its trial: {how}; save it again with the tokenizers library",
        reason="TOKENIZER_PROBE_FAILED",
        field="source",
        metadata={"cause": cause, "file": "tokenizer.json"},
    )
