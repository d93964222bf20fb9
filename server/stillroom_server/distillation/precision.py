"""Where a teacher runs, and in which element type."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from stillroom_registry.errors import FailedPrecondition, InvalidArgument

if TYPE_CHECKING:
    import torch

DTYPES = ("auto", "float32", "bfloat16")
_CPU_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16", "svebf16"})


def resolve_device(name: str = "auto") -> torch.device:
    """``auto``: the first CUDA device, else the CPU. Raises FailedPrecondition for a device that is
    not here, InvalidArgument for a name that is none."""
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InvalidArgument(f"{name!r} names no device: {error}", field="device") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise FailedPrecondition("no CUDA device here", reason="NO_DEVICE", field="device")
    if device.type not in ("cpu", "cuda"):
        raise InvalidArgument(f"{name!r} is neither cpu nor cuda", field="device")
    return device


def resolve_dtype(name: str, device: torch.device) -> torch.dtype:
    """``auto``: bfloat16 where the device multiplies it natively, else float32."""
    import torch

    if name not in DTYPES:
        raise InvalidArgument(f"{name!r} is none of {', '.join(DTYPES)}", field="dtype")
    if name == "auto":
        if device.type == "cuda":
            native = torch.cuda.get_device_capability(device) >= (8, 0)
        else:
            native = has_native_bf16()
        name = "bfloat16" if native else "float32"
    return torch.bfloat16 if name == "bfloat16" else torch.float32


def has_native_bf16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether this CPU has instructions that multiply bfloat16. False where that is not known:
    emulated, it is several times slower than float32."""
    try:
        with cpuinfo.open(encoding="ascii", errors="replace") as lines:
            for line in lines:
                key, _, value = line.partition(":")
                if key.strip().lower() in ("flags", "features"):
                    return not _CPU_FLAGS.isdisjoint(value.split())
    except OSError:
        pass
    return False
