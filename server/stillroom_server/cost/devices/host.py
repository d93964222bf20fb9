"""This host: what the system says of it, without any library that computes.

Cores and memory are what this process may have: a container's limits count, as do the cores that it
is bound to. Accelerators are told by whoever knows them; the kernel's own list of NVIDIA devices
gives names alone.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_NO_LIMIT = 2**60  # what cgroups of version 1 say for none is a little below 2**63


@dataclass(frozen=True, slots=True)
class Accelerator:
    """``name`` such as ``cuda-0``; bytes None: unknown."""

    name: str
    display_name: str
    memory_bytes: int | None = None
    free_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Host:
    """``model`` of the processor, empty where the system does not tell. ``cores``: that this
    process may use, at least 1. Bytes None: unknown. ``day`` it was looked at, ``YYYY-MM-DD``."""

    model: str
    cores: int
    memory_bytes: int | None
    free_bytes: int | None
    day: str = ""
    accelerators: tuple[Accelerator, ...] = ()


def probe_host(
    day: str = "", accelerators: tuple[Accelerator, ...] | None = None, root: Path = Path("/")
) -> Host:
    """Looks at this host; takes less than a millisecond, and never fails.

    ``root`` is where ``proc`` and ``sys`` are. Without ``accelerators``: what the kernel lists.
    """
    memory = _meminfo(root)
    groups = list(_cgroups(root))
    total, free = memory.get("MemTotal"), memory.get("MemAvailable", memory.get("MemFree"))
    if total is None and root == Path("/"):
        total = _pages()
    for folder in groups:
        limit, used = _group_memory(folder)
        if limit is not None:
            total = limit if total is None else min(total, limit)
            left = max(0, limit - (used or 0))
            free = left if free is None else min(free, left)
    return Host(
        model=_model(root),
        cores=_cores(groups),
        memory_bytes=total,
        free_bytes=free,
        day=day,
        accelerators=_nvidia(root) if accelerators is None else accelerators,
    )


def _model(root: Path) -> str:
    """The first name of a processor; ARM's kernels give none."""
    for line in _text(root / "proc/cpuinfo").splitlines():
        key, _, value = (part.strip() for part in line.partition(":"))
        if key in ("model name", "Model"):
            return value
    return ""


def _meminfo(root: Path) -> dict[str, int]:
    """Bytes by the names of /proc/meminfo."""
    found = {}
    for line in _text(root / "proc/meminfo").splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if words and words[0].isdecimal():
            found[name] = int(words[0]) * (1024 if words[1:] == ["kB"] else 1)
    return found


def _cores(groups: list[Path]) -> int:
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # only Linux has it
        cores = os.cpu_count() or 1
    quotas = [quota for folder in groups if (quota := _group_cores(folder)) is not None]
    return max(1, min([cores, *(math.ceil(quota) for quota in quotas)]))


def _cgroups(root: Path) -> Iterator[Path]:
    """Folders whose limits bind this process, of either version: its own and all above it. Inside a
    container the path is often that of the host, and then only the top exists."""
    mount = root / "sys/fs/cgroup"
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers and not {"memory", "cpu"} & set(controllers.split(",")):
            continue
        top = mount / controllers if controllers else mount
        own = top / path.lstrip("/")
        for folder in (own, *own.parents):
            if folder.is_dir():
                yield folder
            if folder == top:
                break


def _group_memory(folder: Path) -> tuple[int | None, int | None]:
    """(limit, bytes in use that cannot be taken back)."""
    for limit_name, used_name, cache_name in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        limit = _number(folder / limit_name)
        if limit is None or limit >= _NO_LIMIT:
            continue
        used = _number(folder / used_name)
        for line in _text(folder / "memory.stat").splitlines():
            name, _, value = line.partition(" ")
            if name == cache_name and used is not None and value.isdecimal():
                used = max(0, used - int(value))
        return limit, used
    return None, None


def _group_cores(folder: Path) -> float | None:
    words = _text(folder / "cpu.max").split()
    if len(words) == 2 and words[0].isdecimal() and words[1].isdecimal() and int(words[1]):
        return int(words[0]) / int(words[1])
    quota, period = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
    return quota / period if quota and period else None


def _nvidia(root: Path) -> tuple[Accelerator, ...]:
    found = []
    with suppress(OSError):
        folders = sorted((root / "proc/driver/nvidia/gpus").iterdir())
        for index, folder in enumerate(folders):
            for line in _text(folder / "information").splitlines():
                key, _, value = (part.strip() for part in line.partition(":"))
                if key == "Model" and value:
                    found.append(Accelerator(f"cuda-{index}", value))
    return tuple(found)


def _pages() -> int | None:
    with suppress(OSError, ValueError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return None


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdecimal() else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
