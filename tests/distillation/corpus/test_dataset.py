"""Datasets of the Hub, against a fake one."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from distillation.corpus.dataset_hub import DatasetHub
from distillation.corpus.support import Recorder, all_texts
from imports.fake_hub import COMMIT, Repo
from pyarrow import parquet

from stillroom_registry.errors import Cancelled, NotFound, StillroomError
from stillroom_server.distillation.corpus import Corpus, CorpusOptions, ingest
from stillroom_server.distillation.corpus.dataset_files import choose_files
from stillroom_server.hub.access import HubAccess


def table(start: int, count: int = 40, column: str = "text") -> bytes:
    out = io.BytesIO()
    texts = [f"text {i}" for i in range(start, start + count)]
    parquet.write_table(pa.table({"id": list(range(count)), column: texts}), out)
    return out.getvalue()


SHARDED = {
    "README.md": b"# A dataset\n",
    "data/train-00000-of-00002.parquet": table(0),
    "data/train-00001-of-00002.parquet": table(40),
    "data/test-00000-of-00001.parquet": table(900),
    ".gitattributes": b"x",
}
LARGE = frozenset({"data/train-00000-of-00002.parquet"})
CONFIGURED = {"en.txt": b"one\ntwo\n", "de.txt": b"eins\nzwei\n", "extra/more.txt": b"three\n"}
CARD = {
    "configs": [
        {"config_name": "german", "data_files": "de.txt"},
        {
            "config_name": "default",
            "data_files": [{"split": "train", "path": ["en.txt", "extra/*.txt"]}],
        },
    ]
}


@pytest.fixture
def hub() -> Iterator[DatasetHub]:
    damaged = {"train.txt": b"a\nb\n", "big.txt": b""}
    repos = {
        "owner/sharded": Repo(SHARDED, LARGE),
        "owner/lines": Repo({"train.jsonl.gz": gzip.compress(b'{"body": "a"}\n{"body": "b"}\n')}),
        "owner/configured": Repo(CONFIGURED),
        "owner/private": Repo({"train.txt": b"secret text\n"}, token="hf_secret"),
        "owner/gated": Repo({"train.txt": b"a\n"}, gated=True),
        "owner/broken": Repo(damaged, broken=frozenset({"train.txt"})),
        "owner/models": Repo({"model.safetensors": b"x", "README.md": b"y"}),
        "owner/escaping": Repo({"data//train.txt": b"a\n"}),
    }
    made = DatasetHub(repos, cards={"owner/configured": CARD})
    with made.running():
        yield made


def bring(hub: DatasetHub, folder: Path, context: Any = None, **dataset: Any) -> Corpus:
    def token_for(repo: str) -> str | None:
        return "hf_secret" if repo == "owner/private" else None

    return ingest(
        {"dataset": dataset},
        folder,
        CorpusOptions(),
        context or Recorder(),
        hub=HubAccess(hub.url, token_for),
    )


def test_a_split_in_parquet_is_read_and_its_commit_recorded(
    hub: DatasetHub, tmp_path: Path
) -> None:
    corpus = bring(hub, tmp_path / "c", repo="owner/sharded", split="train", column="text")
    assert all_texts(corpus) == sorted(f"text {i}" for i in range(80))
    assert corpus.facts["source"]["dataset"]["commit"] == COMMIT
    assert corpus.facts["source"]["dataset"]["files"] == 2
    assert not (tmp_path / "c" / "download").exists()
    test = bring(hub, tmp_path / "t", repo="owner/sharded", split="test")
    assert all_texts(test) == sorted(f"text {i}" for i in range(900, 940))


def test_packed_lines_with_one_column_are_read(hub: DatasetHub, tmp_path: Path) -> None:
    assert all_texts(bring(hub, tmp_path / "c", repo="owner/lines")) == ["a", "b"]


def test_the_card_says_which_files(hub: DatasetHub, tmp_path: Path) -> None:
    corpus = bring(hub, tmp_path / "c", repo="owner/configured", revision="main")
    assert all_texts(corpus) == ["one", "three", "two"]


def test_the_token_is_used_where_it_may_be(hub: DatasetHub, tmp_path: Path) -> None:
    assert all_texts(bring(hub, tmp_path / "c", repo="owner/private")) == ["secret text"]
    bring(hub, tmp_path / "d", repo="owner/lines")
    sent = {(path, auth) for _, path, auth in hub.requests if "lines" in path}
    assert {auth for _, auth in sent} == {None}


@pytest.mark.parametrize(
    ("dataset", "kind", "reason"),
    [
        ({"repo": "owner/none"}, "NotFound", "HUB_REPO_NOT_FOUND"),
        ({"repo": "owner/lines", "revision": "v9"}, "NotFound", "HUB_REVISION_NOT_FOUND"),
        ({"repo": "../../etc/x"}, "InvalidArgument", "BAD_REPO"),
        ({"repo": "owner/gated"}, "PermissionDenied", "HUB_REPO_GATED"),
        ({"repo": "owner/broken"}, "DataLoss", "HUB_FILE_CORRUPT"),
        ({"repo": "owner/models"}, "NotFound", "DATASET_FILES_NOT_FOUND"),
        ({"repo": "owner/sharded", "split": "dev"}, "NotFound", "DATASET_FILES_NOT_FOUND"),
        ({"repo": "owner/sharded", "column": "b"}, "InvalidArgument", "CORPUS_COLUMN_UNKNOWN"),
        ({"repo": "owner/escaping"}, "InvalidArgument", "UNSAFE_FILE"),
    ],
)
def test_what_the_hub_refuses_is_told(
    dataset: dict[str, str], kind: str, reason: str, hub: DatasetHub, tmp_path: Path
) -> None:
    with pytest.raises(StillroomError) as caught:
        bring(hub, tmp_path / "c", **dataset)
    assert (type(caught.value).__name__, caught.value.reason) == (kind, reason)
    assert str(caught.value.field).startswith("corpus.dataset")


def test_a_hub_that_is_down_can_be_tried_again(hub: DatasetHub, tmp_path: Path) -> None:
    hub.fail()
    with pytest.raises(StillroomError) as caught:
        bring(hub, tmp_path / "c", repo="owner/lines")
    assert caught.value.reason == "HUB_UNAVAILABLE"
    assert caught.value.retry_after


def test_another_attempt_reads_what_the_first_one_found(hub: DatasetHub, tmp_path: Path) -> None:
    """Though the branch has moved, and without asking again for the files that are whole."""

    def stop(number: int) -> None:
        if number == 8:
            raise Cancelled("stop")

    with pytest.raises(Cancelled):
        bring(hub, tmp_path / "c", Recorder(stop), repo="owner/sharded")
    assert (tmp_path / "c" / "download" / "00000").exists()
    hub.move()
    hub.requests.clear()
    corpus = bring(hub, tmp_path / "c", repo="owner/sharded")
    assert corpus.facts["source"]["dataset"]["commit"] == COMMIT
    assert not [path for _, path, _ in hub.requests if "00000-of-00002" in path or "/api/" in path]
    assert all_texts(corpus) == sorted(f"text {i}" for i in range(80))


@pytest.mark.parametrize(
    ("paths", "split", "expected"),
    [
        (["train.csv", "test.csv"], "test", ["test.csv"]),
        (["a/train/x.txt", "a/test/x.txt"], "train", ["a/train/x.txt"]),
        (["corpus.txt", "README.txt"], "train", ["corpus.txt"]),
        (["train.jsonl", "train.parquet"], "train", ["train.parquet"]),
        (["training-set.csv", "train_b.csv", "retrain.csv"], "train", ["train_b.csv"]),
        (["b-train-1.txt", "a-train-2.txt"], "train", ["a-train-2.txt", "b-train-1.txt"]),
    ],
)
def test_files_are_found_by_their_names(paths: list[str], split: str, expected: list[str]) -> None:
    assert choose_files(paths, split, None, "f") == expected


def test_a_card_without_the_split_is_believed() -> None:
    configs = [{"config_name": "x", "data_files": [{"split": "train", "path": "train.txt"}]}]
    assert choose_files(["train.txt", "test.txt"], "train", configs, "f") == ["train.txt"]
    with pytest.raises(NotFound):
        choose_files(["train.txt", "test.txt"], "test", configs, "f")
