"""A virtual environment for a peer, made once from its file of pins and kept."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

INSTALL_SECONDS = 1200


class PeerFailedError(Exception):
    """A peer could not be installed or did not start; the message says why."""


def interpreter(pins: Path) -> Path:
    """Python with ``pins`` installed: in the user's cache, by the digest of the pins. Raises
    PeerFailedError when they cannot be installed."""
    digest = hashlib.sha256(pins.read_bytes() + sys.version.encode()).hexdigest()[:16]
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stillroom-bench"
    folder = base / f"{pins.stem}-{digest}"
    if not folder.is_dir():
        base.mkdir(parents=True, exist_ok=True)
        # Elsewhere first, so that half an environment is never found; it is no package's business
        # where it was made, as nothing but its interpreter is run.
        made = Path(tempfile.mkdtemp(dir=base))
        try:
            venv.create(made, with_pip=True, symlinks=True)
            _install(made, pins)
            made.rename(folder)
        finally:
            shutil.rmtree(made, ignore_errors=True)
    return folder / "bin" / "python"


def _install(folder: Path, pins: Path) -> None:
    command = [str(folder / "bin" / "python"), "-m", "pip", "install", "-q", "--no-deps"]
    try:
        done = subprocess.run(
            [*command, "-r", str(pins)], capture_output=True, text=True, timeout=INSTALL_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise PeerFailedError(f"{pins.name} took over {INSTALL_SECONDS} s to install") from error
    if done.returncode:
        raise PeerFailedError(f"{pins.name} cannot be installed: {done.stderr[-2000:]}")
