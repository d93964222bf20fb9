"""In a fresh process: where the library finds the Hub and the token, and Xet, which wants one."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub.room import REPO
from hub.running import Place
from hub.server import LFS, TOKEN, XET, Hub
from stillroom_server.operations.model import OperationState


@pytest.mark.parametrize("transfer", [LFS, XET])
def test_there_and_back_in_a_process_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, transfer: str
) -> None:
    (tmp_path / "cas").mkdir()
    with Hub(transfer=transfer, cas=tmp_path / "cas").running() as hub:
        hub.store.blobs = tmp_path / "data" / "blobs" / "sha256"
        place = Place(tmp_path, hub, monkeypatch)
        version = place.publish()
        operations = [place.push(version, private=True, tag="v1"), place.pull("copy")]
        with place.runner() as runner:
            ended = [place.ended(operation) for operation in operations]
            for operation in ended:
                assert operation.state is OperationState.SUCCEEDED, operation.error
            runner.kill()
            log = runner.log()
        assert TOKEN not in log
        assert "X-Amz-Signature" not in log
        assert hub.commits(REPO) == [f"Publish {version.name}"]
        there = hub.store.repos["models", REPO].resolve("v1")
        assert there is not None
        weights = there.files["model.safetensors"]
        assert (weights.xet is not None) == (transfer == XET)
        assert (hub.calls("xet-write-token") > 0) == (transfer == XET)
        assert (hub.calls("/storage/") > 0) == (transfer == LFS)
        copy = place.registry.resolve("copy")
        wanted = {file.path: file.digest for file in version.files}
        found = {file.path: file.digest for file in copy.files}
        assert found["model.safetensors"] == wanted["model.safetensors"]
        assert found["tokenizer.json"] == wanted["tokenizer.json"]
        place.registry.close()


def test_without_the_network_a_sync_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Hub().running() as hub:
        place = Place(tmp_path, hub, monkeypatch)
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        operation = place.pull("copy")
        with place.runner():
            ended = place.ended(operation)
        assert ended.error is not None
        assert (ended.error.code, ended.error.reason) == ("Unavailable", "HUB_UNAVAILABLE")
        assert not hub.requests
        place.registry.close()
