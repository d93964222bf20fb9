"""Works on a registry until it is killed, telling before and after each step what it does.

Run by ``test_kill``: arguments are the data directory, a source folder and a seed. Each line on
standard output is ``try`` or ``ack``, then the step as JSON.
"""

from __future__ import annotations

import json
import os
import random
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from stillroom_registry.errors import FailedPrecondition, NotFound
from stillroom_registry.registry import ModelKind, Registry

MODELS = ("a", "b")
MOST = 20  # versions: what is checked after each kill
ACTIONS = ("alias", "alias", "back", "delete", "collect", "update", "verify")


def tell(word: str, step: dict[str, object]) -> None:
    os.write(1, f"{word} {json.dumps(step)}\n".encode())


def main(data_dir: Path, source: Path, seed: int) -> None:
    choose = random.Random(seed)
    registry = Registry.open(data_dir)
    source.mkdir(exist_ok=True)
    live = {model: set(published(registry, model)) for model in MODELS}
    while True:
        model = choose.choice(MODELS)
        action = choose.choice([*["publish"] * 4, *ACTIONS])
        if len(live[model]) > MOST:
            action = "delete"
        step: dict[str, object] = {"action": action, "model": model}
        if action == "publish":
            content = choose.randbytes(choose.choice([10, 1000, 300_000]))
            (source / "own").write_bytes(content)
            (source / "shared").write_bytes(bytes([choose.randrange(4)]))
            tell("try", step)
            version = registry.publish(model, ModelKind.STUDENT, source)
            live[model].add(version.version)
            step |= {"version": version.version, "digest": version.digest}
        elif action == "collect":
            tell("try", step)
            registry.collect_garbage(grace=timedelta(0), now=datetime.now(UTC))
        elif not live[model]:
            continue
        elif action == "update":
            step |= {"description": f"{choose.random()}"}
            tell("try", step)
            registry.update_model(model, description=str(step["description"]))
        elif action == "back":
            tell("try", step)
            try:
                step |= {"version": registry.roll_back_alias(model, "production").version}
            except (FailedPrecondition, NotFound):
                step |= {"action": "none"}
        else:
            version_number = choose.choice(sorted(live[model]))
            step |= {"version": version_number}
            tell("try", step)
            if action == "alias":
                registry.set_alias(model, "production", version_number)
            elif action == "verify":
                assert registry.verify(registry.get_version(model, version_number)).damaged == ()
            else:
                registry.delete_version(model, version_number, force=True)
                live[model].discard(version_number)
        tell("ack", step)


def published(registry: Registry, model: str) -> list[int]:
    if model not in {each.name for each in registry.list_models().items}:
        return []
    return [version.version for version in registry.list_versions(model, 1000).items]


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
