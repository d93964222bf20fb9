"""The prompts that a model has, told without loading it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from stillroom_registry.registry import Registry
from stillroom_registry.values import ModelVersion

# As those who serve it read them, later ones winning.
_FILES = ("config.json", "config_sentence_transformers.json", "stillroom.json")
_LARGEST = 8 << 20


def prompts_of(registry: Registry, version: ModelVersion) -> Mapping[str, str]:
    """By name. Files that cannot be read have none: who loads the model says what is wrong."""
    found: dict[str, str] = {}
    there = {file.path: file.size for file in version.files}
    for name in _FILES:
        if there.get(name, _LARGEST) >= _LARGEST:
            continue
        with registry.open_file(version, name) as stream:
            content = _object(stream.read())
        prompts = content.get("prompts")
        if isinstance(prompts, dict):
            found |= {str(key): str(text) for key, text in prompts.items()}
    return found


def _object(data: bytes) -> dict[str, Any]:
    try:
        content = json.loads(data)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}
