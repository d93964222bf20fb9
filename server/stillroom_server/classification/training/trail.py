"""What is done of a training, piece by piece, kept in checkpoints.

A piece is arrays and facts under a name: a fit that is finished, or one under way. An attempt after
a kill finds the pieces and goes on; what it then makes is what an attempt that was never killed
makes, since every piece is a function of the request alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillroom_server.distillation.tuning.protocols import Checkpoints

SAVE_SECONDS = 8.0
_STATE, _ARRAYS = "state.json", "arrays.npz"

Arrays = dict[str, NDArray[Any]]
Piece = tuple[Arrays, dict[str, Any]]


class Trail:
    """``key`` says of what training it is; a checkpoint of another is not read. ``confirm`` is what
    may raise before anything is saved (cancellation). ``seconds`` of training, those of earlier
    attempts included, are told by ``clock``."""

    def __init__(
        self,
        checkpoints: Checkpoints,
        key: str,
        confirm: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        self._checkpoints = checkpoints
        self._key = key
        self._confirm = confirm
        self._clock = clock
        self._pieces: dict[str, Piece] = {}
        self._step = 0
        before = self._read()
        self._began = clock() - before
        self._saved = clock()
        self._slowness = 1.0

    @property
    def seconds(self) -> float:
        return self._clock() - self._began

    def get(self, name: str) -> Piece | None:
        return self._pieces.get(name)

    def put(self, name: str, arrays: Arrays, facts: Mapping[str, Any]) -> None:
        """Keep a piece; on disk once in a while."""
        self._pieces[name] = (arrays, dict(facts))
        if self.due():
            self.save()

    def drop(self, name: str) -> None:
        self._pieces.pop(name, None)

    def due(self) -> bool:
        """Whether so much would be lost by a kill that it is worth saving."""
        return self._clock() - self._saved >= SAVE_SECONDS * self._slowness

    def save(self) -> None:
        """Raises what the checkpoints raise, and ``confirm``."""
        self._confirm()
        self._step += 1
        began = self._clock()
        self._checkpoints.save(self._step, self._write)
        self._saved = self._clock()
        # A large table takes a while to save: about an eighth of the time at most.
        self._slowness = max(1.0, self._saved - began)

    def _write(self, folder: Path) -> None:
        arrays = {
            f"{name}|{part}": value
            for name, (held, _) in self._pieces.items()
            for part, value in held.items()
        }
        np.savez(folder / _ARRAYS, allow_pickle=False, **arrays)
        state = {
            "key": self._key,
            "seconds": self.seconds,
            "facts": {name: facts for name, (_, facts) in self._pieces.items()},
        }
        (folder / _STATE).write_text(json.dumps(state), encoding="utf-8")

    def _read(self) -> float:
        """Seconds of earlier attempts."""
        latest = self._checkpoints.latest()
        if latest is None:
            return 0.0
        self._step = latest[0]
        state = json.loads((latest[1] / _STATE).read_text(encoding="utf-8"))
        if state["key"] != self._key:
            return 0.0
        self._pieces = {name: ({}, facts) for name, facts in state["facts"].items()}
        with np.load(latest[1] / _ARRAYS) as stored:
            for entry in stored.files:
                name, _, part = entry.partition("|")
                self._pieces[name][0][part] = stored[entry]
        return float(state["seconds"])
