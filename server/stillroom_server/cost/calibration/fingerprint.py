"""What measurements hold for: another machine, library, setting or model asks for new ones."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from stillroom_server.inference.verdicts import versions
from stillroom_server.operations.settings import all_cores

CPUINFO = Path("/proc/cpuinfo")
_REVISION = 1  # raise when probes measure something else by the same names
_LIBRARIES = (
    *("numpy", "scipy", "torch", "transformers", "tokenizers", "nanotoken", "daachorse"),
    *("onnxruntime", "stillroom"),
)


@dataclass(frozen=True)
class Host:
    """``cpu``: its name and instruction sets; ``libraries`` with their versions."""

    cpu: str
    cores: int
    libraries: str


def fingerprint(host: Host, settings: Mapping[str, object], model: str = "") -> str:
    """``sha256:{hex}`` of all of it; ``model`` is what tells a model's version from others."""
    facts = {
        "revision": _REVISION,
        "cpu": host.cpu,
        "cores": host.cores,
        "libraries": host.libraries,
        "settings": dict(settings),
        "model": model,
    }
    text = json.dumps(facts, sort_keys=True, default=str)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


@cache
def this_host(cpuinfo: Path = CPUINFO) -> Host:
    """This one. It does not change while the process lives."""
    libraries = f"python=={platform.python_version()} {versions(*_LIBRARIES)}"
    return Host(cpu_of(cpuinfo), all_cores(), libraries)


def cpu_of(cpuinfo: Path) -> str:
    """Name and instruction sets of the first processor listed; what Python knows where nothing is
    listed."""
    found = dict.fromkeys(("model name", "CPU part", "flags", "Features"), "")
    try:
        text = cpuinfo.read_text(encoding="ascii", errors="replace")
    except OSError:
        text = ""
    for line in text.partition("\n\n")[0].splitlines():
        name, _, value = line.partition(":")
        if name.strip() in found:
            found[name.strip()] = value.strip()
    if not any(found.values()):
        return f"{platform.machine()} {platform.processor()}"
    return " ".join(value for value in (platform.machine(), *found.values()) if value)
