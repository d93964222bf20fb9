"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from stillroom_server.distillation.precision import has_native_bf16

CPUINFO = Path("/proc/cpuinfo")
# What makes a difference to the figures, of some hundred flags.
_FLAGS = (
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "amx_bf16",
    "amx_int8",
    "asimd",
    "bf16",
    "i8mm",
)
_PACKAGES = ("grpcio", "model2vec", "nanotoken", "numpy", "onnxruntime", "tokenizers", "torch")


@dataclass(frozen=True)
class Machine:
    """``flags`` are those of the CPU's instruction sets that matter here."""

    cpu: str
    cores: int
    flags: tuple[str, ...]
    native_bf16: bool
    memory_bytes: int
    system: str
    python: str
    packages: dict[str, str]


def describe(cpuinfo: Path = CPUINFO) -> Machine:
    """This machine, as this process may use it."""
    lines = cpuinfo.read_text(errors="replace").splitlines() if cpuinfo.is_file() else []
    flags = flags_of(lines)
    return Machine(
        cpu=_value(lines, "model name") or platform.processor() or platform.machine(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1,
        flags=flags,
        native_bf16=has_native_bf16(cpuinfo),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        system=platform.platform(),
        python=platform.python_version(),
        packages={name: metadata.version(name) for name in _PACKAGES if _installed(name)},
    )


def flags_of(cpuinfo: Iterable[str]) -> tuple[str, ...]:
    """The flags that matter, of the lines of /proc/cpuinfo."""
    lines = list(cpuinfo)
    given = set((_value(lines, "flags") or _value(lines, "Features")).split())
    return tuple(flag for flag in _FLAGS if flag in given)


def _value(lines: Iterable[str], key: str) -> str:
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return ""


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True
