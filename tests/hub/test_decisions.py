"""What is decided without a Hub: cards, differences, conflicts, addresses."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha1, sha256

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from stillroom_registry.registry import ModelKind, ModelVersion
from stillroom_server.sync.card import MAX_CARD_BYTES, CardFacts, facts_of, resealed, with_metadata
from stillroom_server.sync.known import Known
from stillroom_server.sync.remote_tree import LocalFile, RemoteFile, difference
from stillroom_server.sync.values import Direction, Sync, SyncState, endpoint_of

FACTS = CardFacts("mini 1", "model2vec", "sentence-similarity", "a/b", ("spearmanr",))
TEXT = st.text(st.characters(codec="utf-8"), max_size=60)
PATHS = st.sampled_from(["a", "b/c", "README.md", ".gitattributes", "model.safetensors"])


def front(card: bytes) -> dict[str, object]:
    text = card.decode()
    assert text.startswith("---\n")
    value: dict[str, object] = yaml.safe_load(text.split("---\n")[1])
    return value


def test_a_missing_card_is_made() -> None:
    made = with_metadata(None, FACTS)
    assert front(made) == {
        "library_name": "model2vec",
        "pipeline_tag": "sentence-similarity",
        "base_model": "a/b",
        "metrics": ["spearmanr"],
        "tags": ["stillroom"],
    }
    assert b"# mini 1" in made


@pytest.mark.parametrize(
    "card",
    [
        b"no metadata at all\n",
        b"---\n: : bad\n  yaml: [\n---\nbody\n",
        b"---\n- a list\n---\nbody\n",
        b"---\nnever closed",
        b"\xff\xfe not UTF-8",
        b"---\r\nlicense: mit\r\n---\r\nbody\r\n",
        b"\xef\xbb\xbf---\nlicense: mit\n---\nbody\n",
        b"",
    ],
)
def test_any_card_gets_metadata_and_keeps_its_body(card: bytes) -> None:
    made = with_metadata(card, FACTS)
    assert front(made)["library_name"] == "model2vec"
    if b"mit" in card:
        assert front(made)["license"] == "mit"
    assert (b"body" in made) == (b"body" in card)
    assert with_metadata(made, FACTS) == made


@given(TEXT)
def test_twice_is_once(body: str) -> None:
    made = with_metadata(body.encode(), FACTS)
    assert with_metadata(made, FACTS) == made


def test_what_somebody_wrote_stays() -> None:
    card = (
        b"---\nlibrary_name: sentence-transformers\nbase_model: x/y\ntags: one\n"
        b"pipeline_tag: feature-extraction\nmetrics: [pearson]\n---\n"
    )
    found = front(with_metadata(card, FACTS))
    assert found["library_name"] == "sentence-transformers"
    assert (found["base_model"], found["metrics"]) == ("x/y", ["pearson"])
    assert found["tags"] == ["one", "stillroom"]


def test_a_huge_card_is_left_alone() -> None:
    card = b"x" * (MAX_CARD_BYTES + 1)
    assert with_metadata(card, FACTS) is card


@pytest.mark.parametrize(
    ("kind", "paths", "metadata", "library", "task", "metrics"),
    [
        ("student", {"modules.json"}, {"recipe": "static"}, "model2vec", "sentence-similarity", ()),
        (
            "student",
            {"modules.json"},
            {"recipe": "transformer", "report": {"similarity_spearman": 0.9}},
            *("sentence-transformers", "sentence-similarity", ("spearmanr",)),
        ),
        ("classifier", set(), {"quality": {}}, "stillroom", "text-classification", ()),
        (
            "classifier",
            set(),
            {"quality": {"accuracy": 1}},
            *("stillroom", "text-classification", ("accuracy", "f1")),
        ),
        ("teacher", {"modules.json"}, {}, "sentence-transformers", "sentence-similarity", ()),
        ("teacher", {"config.json"}, {}, "transformers", "sentence-similarity", ()),
    ],
)
def test_what_a_version_is_called_there(
    kind: str,
    paths: set[str],
    metadata: dict[str, object],
    library: str,
    task: str,
    metrics: tuple[str, ...],
) -> None:
    facts = facts_of("models/mini/versions/1", kind, frozenset(paths), metadata, None)
    assert (facts.library_name, facts.pipeline_tag, facts.metrics) == (library, task, metrics)


def test_the_manifest_follows_the_card() -> None:
    manifest = json.dumps({"files": {"README.md": "0", "a": "1"}, "kind": "student"}).encode()
    made = json.loads(resealed(manifest, b"card"))
    assert made["files"] == {"README.md": sha256(b"card").hexdigest(), "a": "1"}
    for other in (b"{", b"[]", b'{"files": {"a": "1"}}', resealed(manifest, b"card")):
        assert resealed(other, b"card") == other


def remote(path: str, data: bytes, large: bool) -> RemoteFile:
    blob = sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
    return RemoteFile(path, len(data), sha256(data).hexdigest() if large else None, blob)


@given(
    st.dictionaries(PATHS, st.binary(max_size=3)),
    st.dictionaries(PATHS, st.tuples(st.binary(max_size=3), st.booleans())),
    st.sets(PATHS),
)
def test_a_change_makes_the_remote_hold_the_version_and_takes_nothing_of_others(
    local: dict[str, bytes], there: dict[str, tuple[bytes, bool]], ours: set[str]
) -> None:
    files = [LocalFile.of_bytes(path, data) for path, data in local.items()]
    tree = {path: remote(path, data, large) for path, (data, large) in there.items()}
    change = difference(files, tree, ours)
    after = {path: data for path, (data, _) in there.items()}
    for file in change.put:
        assert isinstance(file.source, bytes)
        assert after.get(file.path) != file.source  # nothing is sent that is there
        after[file.path] = file.source
    for path in change.delete:
        assert path in ours
        del after[path]
    assert all(after[path] == data for path, data in local.items())
    assert set(after) - set(local) == set(there) - set(local) - ours


def version(**metadata: object) -> ModelVersion:
    return ModelVersion(
        *("m", 3, ModelKind.STUDENT, (), metadata, ()),
        create_time=datetime(2026, 1, 1, tzinfo=UTC),
        size=0,
        digest="sha256:0",
    )


def done(commit: str, branch: str = "main", **more: object) -> Sync:
    made = Sync(*("op", Direction.PUSH, "m", 1, "https://hub", "o/r"), branch, state=SyncState.DONE)
    return replace(made, commit=commit, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("syncs", "head", "left"),
    [
        ([], "a", False),
        ([done("a")], "a", True),
        ([done("a")], "b", False),
        ([done("b"), done("a")], "a", False),  # somebody went back
        ([done("a", direction=Direction.PULL, version=2)], "a", True),
        ([done("a", branch="v1", direction=Direction.PULL)], "a", True),
        ([done("a", branch="next")], "b", False),
        ([done("a", state=SyncState.FAILED)], "a", False),
    ],
)
def test_where_a_branch_was_left(syncs: list[Sync], head: str, left: bool) -> None:
    assert Known.of(syncs, "main", version(), "o/r").is_left(head) == left


def test_an_import_knows_where_it_is_from() -> None:
    origin = {"hub": {"repo": "o/r", "revision": None, "commit": "a"}}
    imported = version(origin=origin)
    assert Known.of([], "main", imported, "o/r").is_left("a")
    assert not Known.of([], "main", imported, "o/other").is_left("a")
    assert not Known.of([done("b")], "main", imported, "o/r").is_left("a")


@pytest.mark.parametrize(
    ("url", "told"),
    [
        (None, "https://huggingface.co"),
        ("https://hub.example/", "https://hub.example"),
        ("https://user:secret@hub.example:8443/hf/", "https://hub.example:8443/hf"),
    ],
)
def test_an_address_is_recorded_without_a_password(url: str | None, told: str) -> None:
    assert endpoint_of(url) == told
