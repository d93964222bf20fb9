"""The executors of pushes and pulls for a runner (``--executors hub.executors:build``), which finds
the Hub where huggingface_hub would: HF_ENDPOINT, and HF_TOKEN or the file of ``hf auth login``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stillroom_registry.registry import Registry
from stillroom_server.operations.executor import Executor
from stillroom_server.operations.executors import by_kind
from stillroom_server.sync.pull import PullExecutor
from stillroom_server.sync.push import PushExecutor

SETTINGS = {"hub_push": True, "hub_allow": ["org/*"]}


def build(_settings_json: Mapping[str, Any], registry: Registry) -> dict[str, Executor]:
    """In the runner's process."""
    return by_kind(PushExecutor(SETTINGS, registry), PullExecutor(SETTINGS, registry))
