"""Which files of a source belong to an import, decided by their names alone.

By name, so that a file that is not wanted is neither copied nor downloaded.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from stillroom_registry.errors import InvalidArgument
from stillroom_registry.safe_files import unsafe_name

UNSAFE = "its format can run code when it is loaded"
OTHER_RUNTIME = "made for another runtime"
CODE = "code is never imported"
HIDDEN = "hidden files are not part of a model"
UNNEEDED = "not part of a model"
UNUSED = "weights that the model does not name"
ONNX_FILES = ("onnx/model.onnx", "onnx/model.onnx_data")

_WANTED = {".json", ".txt", ".model", ".safetensors", ".md", ".jinja", ".vocab", ".bpe"}
_WANTED_NAMES = {"license", "notice", "copying"}
_RUNTIMES = {".onnx", ".onnx_data", ".xml", ".h5", ".msgpack", ".tflite", ".gguf", ".ot", ".pb"}
_RUNTIMES |= {".mlmodel", ".engine", ".pte"}
_CODE = {".py", ".pyc", ".so", ".dll", ".dylib", ".sh", ".ipynb", ".js"}


@dataclass(frozen=True)
class SkippedFile:
    """A file of the source that is not imported, and why, for people."""

    path: str
    reason: str

    def as_dict(self) -> dict[str, str]:
        return {"path": self.path, "reason": self.reason}


def skip_reason(path: str) -> str | None:
    """Why the file at a relative path with '/' is left out; None if it is wanted."""
    name = PurePosixPath(path)
    suffix = name.suffix.lower()
    if any(part.startswith(".") for part in name.parts):
        return HIDDEN
    if path in ONNX_FILES:
        return None
    # OpenVINO's weights are .bin too, and no pickle.
    if name.parts[0] == "openvino" or suffix in _RUNTIMES:
        return OTHER_RUNTIME
    if unsafe_name(path):
        return UNSAFE
    if suffix in _CODE:
        return CODE
    if suffix in _WANTED or name.stem.lower() in _WANTED_NAMES:
        return None
    return UNNEEDED


def holds_pickle(skipped: Iterable[SkippedFile], folder: str = "") -> bool:
    """Whether weights of ``folder`` (relative, '' for the top) were left out for being unsafe."""
    place = PurePosixPath(folder)
    return any(
        file.reason == UNSAFE and PurePosixPath(file.path).parent == place for file in skipped
    )


@dataclass
class Budget:
    """What an import may hold. Raises InvalidArgument(IMPORT_TOO_LARGE) when it is spent."""

    max_files: int
    max_bytes: int
    field: str = "source"
    files: int = 0
    bytes: int = 0

    def add_file(self) -> None:
        self.files += 1
        if self.files > self.max_files:
            raise self._spent(f"more than {self.max_files:,} files")

    def add_bytes(self, count: int) -> None:
        self.bytes += count
        if self.bytes > self.max_bytes:
            raise self._spent(f"more than {self.max_bytes:,} bytes")

    def _spent(self, what: str) -> InvalidArgument:
        return InvalidArgument(
            f"the source holds {what}; name the model's own folder, or ask the operator to raise "
            "the limit",
            reason="IMPORT_TOO_LARGE",
            field=self.field,
        )
