"""Stillroom: a client for the server that distills, keeps and serves small embedding models.

>>> from stillroom import Client
>>> with Client() as client:
...     vectors = client.embed(["one text", "another"], model="mini")

Names are loaded when they are first used: importing this package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from stillroom._version import __version__

if TYPE_CHECKING:
    from stillroom import errors
    from stillroom._flows.classifier_options import TrainOptions
    from stillroom._flows.recipes import DistillOptions
    from stillroom.classifications import Classification, Classifications, ClassifyOptions, Label
    from stillroom.client import AsyncClient, Client
    from stillroom.embeddings import EmbedBatch, EmbedOptions, TextWarning
    from stillroom.errors import StillroomError
    from stillroom.operation import AsyncOperation, Operation
    from stillroom.snapshots import OperationSnapshot

__all__ = [
    "AsyncClient",
    "AsyncOperation",
    "Classification",
    "Classifications",
    "ClassifyOptions",
    "Client",
    "DistillOptions",
    "EmbedBatch",
    "EmbedOptions",
    "Label",
    "Operation",
    "OperationSnapshot",
    "StillroomError",
    "TextWarning",
    "TrainOptions",
    "__version__",
    "errors",
]

_HOMES = {
    "AsyncClient": "client",
    "AsyncOperation": "operation",
    "Classification": "classifications",
    "Classifications": "classifications",
    "ClassifyOptions": "classifications",
    "Client": "client",
    "DistillOptions": "_flows.recipes",
    "EmbedBatch": "embeddings",
    "EmbedOptions": "embeddings",
    "Label": "classifications",
    "Operation": "operation",
    "OperationSnapshot": "snapshots",
    "StillroomError": "errors",
    "TextWarning": "embeddings",
    "TrainOptions": "_flows.classifier_options",
}


def __getattr__(name: str) -> Any:
    if name == "errors":
        return importlib.import_module("stillroom.errors")
    if name in _HOMES:
        value = getattr(importlib.import_module(f"stillroom.{_HOMES[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'stillroom' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
