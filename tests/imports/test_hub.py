"""Downloads from the Hub, against a fake one, in a fresh process as the library demands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from imports.fake_hub import COMMIT, FakeHub, Repo
from imports.folders import names, teacher

from stillroom_server.imports.settings import ImportSettings
from stillroom_server.security.secret import Secret

# Reads cases from stdin, answers what each download did.
_DRIVER = """
import json, sys
from pathlib import Path
from stillroom_registry.errors import StillroomError
from stillroom_server.hub.access import HubAccess
from stillroom_server.imports.hub import download
from stillroom_server.imports.selection import Budget
answers = []
for case in json.load(sys.stdin):
    seen, folder = [], Path(case["folder"])
    folder.mkdir()
    try:
        found = download(case["repo"], case["revision"], folder, Budget(50, case["bytes"]),
                         access=HubAccess(case["endpoint"], lambda _: case["token"]),
                         keep=folder.with_name(folder.name + "-kept"),
                         on_bytes=lambda done, total: seen.append([done, total]))
        answers.append({"commit": found.commit, "skipped": [s.path for s in found.skipped],
                        "seen": seen})
    except StillroomError as error:
        answers.append({"error": type(error).__name__, "reason": error.reason,
                        "message": error.message, "retry": error.retry_after})
print(json.dumps(answers))
"""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[FakeHub]:
    model = teacher(tmp_path / "model")
    files = {name: (model / name).read_bytes() for name in names(model)}
    extra = {"pytorch_model.bin": b"pickle", "onnx/model.onnx": b"graph", ".gitattributes": b"x"}
    large = frozenset({"model.safetensors"})
    repos = {
        "owner/model": Repo({**files, **extra}, large),
        "owner/broken-large": Repo(files, large, broken=large),
        "owner/broken-small": Repo(files, large, broken=frozenset({"config.json"})),
        "owner/private": Repo(files, large, token="hf_secret"),
        "owner/gated": Repo(files, large, gated=True),
        "owner/escaping": Repo({"../config.json": b"{}"}),
    }
    with FakeHub(repos).running() as fake:
        yield fake


def run(tmp_path: Path, hub_url: str, *cases: dict[str, Any]) -> list[dict[str, Any]]:
    environment = {
        **os.environ,
        "HF_ENDPOINT": hub_url,
        "HF_HOME": str(tmp_path / "hf"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_ETAG_TIMEOUT": "20",
        "HF_HUB_OFFLINE": "0",
        "HF_TOKEN": "hf_of_the_environment",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    filled = [
        {
            "revision": None,
            "token": None,
            "bytes": 10**7,
            "endpoint": hub_url,
            "folder": str(tmp_path / f"out{number}"),
            **case,
        }
        for number, case in enumerate(cases)
    ]
    done = subprocess.run(
        [sys.executable, "-c", _DRIVER],
        input=json.dumps(filled),
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers: list[dict[str, Any]] = json.loads(done.stdout)
    return answers


def test_downloads(tmp_path: Path, hub: FakeHub) -> None:
    answers = run(
        tmp_path,
        hub.url,
        {"repo": "owner/model"},
        {"repo": "owner/model", "revision": "v1"},
        {"repo": "owner/model", "revision": COMMIT},
        {"repo": "owner/private", "token": "hf_secret"},
    )
    for number, answer in enumerate(answers):
        assert answer.get("commit") == COMMIT, answer
        found = names(tmp_path / f"out{number}")
        assert {name for name in found if not name.startswith(".cache/")} == names(
            tmp_path / "model"
        )
    assert answers[0]["skipped"] == [".gitattributes", "onnx/model.onnx", "pytorch_model.bin"]
    first, last = answers[0]["seen"][0], answers[0]["seen"][-1]
    assert first[0] == 0
    assert last[0] == last[1] == sum(p.stat().st_size for p in (tmp_path / "model").rglob("*.*"))
    paths = [path for _, path, _ in hub.requests]
    assert not any("pytorch_model" in path or ".onnx" in path for path in paths)


def test_errors(tmp_path: Path, hub: FakeHub) -> None:
    answers = run(
        tmp_path,
        hub.url,
        {"repo": "owner/none"},
        {"repo": "owner/private"},
        {"repo": "owner/model", "revision": "none"},
        {"repo": "owner/gated"},
        {"repo": "no/such/form"},
        {"repo": "owner/broken-large"},
        {"repo": "owner/broken-small"},
        {"repo": "owner/escaping"},
        {"repo": "owner/model", "bytes": 100},
        {"repo": "owner/model", "endpoint": "http://127.0.0.1:9"},
    )
    assert [(answer.get("error"), answer.get("reason")) for answer in answers] == [
        ("NotFound", "HUB_REPO_NOT_FOUND"),
        ("NotFound", "HUB_REPO_NOT_FOUND"),
        ("NotFound", "HUB_REVISION_NOT_FOUND"),
        ("PermissionDenied", "HUB_REPO_GATED"),
        ("InvalidArgument", "BAD_REPO"),
        ("DataLoss", "HUB_FILE_CORRUPT"),
        ("DataLoss", "HUB_FILE_CORRUPT"),
        (None, None),  # a name with '..' is left out like any hidden file
        ("InvalidArgument", "IMPORT_TOO_LARGE"),
        ("Unavailable", "HUB_UNAVAILABLE"),
    ]
    assert answers[-1]["retry"] > 0
    assert not any("http" in answer.get("message", "") for answer in answers)
    assert answers[7]["skipped"] == ["../config.json"]
    assert not (tmp_path / "config.json").exists()
    # Neither the environment's token nor any other went to where it was not meant for.
    assert {token for _, _, token in hub.requests} == {None}


def test_a_hub_that_fails(tmp_path: Path, hub: FakeHub) -> None:
    hub.fail()
    (answer,) = run(tmp_path, hub.url, {"repo": "owner/model"})
    assert (answer["error"], answer["reason"]) == ("Unavailable", "HUB_UNAVAILABLE")


def test_the_token_is_for_what_the_operator_allows() -> None:
    settings = ImportSettings(hub_allow=("mine/*", "other/one"), hub_token=Secret("hf_x"))
    assert settings.token_for("mine/any") == "hf_x"
    assert settings.token_for("other/one") == "hf_x"
    for repo in ("other/two", "Mine/any", "x/mine/any"):
        assert settings.token_for(repo) is None
    assert ImportSettings(hub_token=Secret("hf_x")).token_for("mine/any") is None
    assert "hf_x" not in repr(settings)


def test_settings_come_from_the_server_and_the_token_from_the_environment() -> None:
    json_settings = {"allow_root": ["/models"], "hub_allow": ["a/*"], "hub_endpoint": None}
    settings = ImportSettings.from_json(json_settings, {"HF_TOKEN": "t", "HF_ENDPOINT": "http://h"})
    assert settings.allow_root == (Path("/models"),)
    assert settings.hub_endpoint == "http://h"
    assert settings.token_for("a/b") == "t"
    assert ImportSettings.from_json({}, {}) == ImportSettings()
