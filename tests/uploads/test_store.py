"""Uploads: a whole file or none, resumed where it broke off, under a name that is safe."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from uploads.support import CONTENT, HEADER, SHA, Clock, Make, broken_off, refused, resuming, upload

from stillroom_registry.errors import (
    Aborted,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    StillroomError,
)
from stillroom_server.uploads.model import UploadFormat, UploadHeader, parse_name
from stillroom_server.uploads.store import UploadStore, random_id
from stillroom_server.uploads.writer import MAX_CHUNK_BYTES


def test_a_file_comes_back_whole(store: UploadStore, clock: Clock) -> None:
    with store.begin(HEADER) as writer:
        for start in range(0, len(CONTENT), 1000):
            writer.write(CONTENT[start : start + 1000])
        info = writer.finish()
    assert info == store.get(info.name)
    assert (info.complete, info.committed_bytes, info.digest) == (True, len(CONTENT), SHA)
    assert (info.filename, info.format) == ("corpus.txt", UploadFormat.FILE)
    assert info.expire_time == clock.now + timedelta(hours=24)
    assert store.open(info.name).read_bytes() == CONTENT


def test_a_digest_is_computed_when_none_was_announced(store: UploadStore) -> None:
    name = upload(store, format=UploadFormat.TAR)
    assert store.get(name).digest == SHA
    assert store.get(name).format is UploadFormat.TAR


@pytest.mark.parametrize("reopened", [False, True])
def test_a_broken_stream_is_resumed_where_it_ended(make: Make, reopened: bool) -> None:
    store = make()
    name = broken_off(store, 3000)
    store = make() if reopened else store
    info = store.get(name)
    assert (info.committed_bytes, info.complete, info.digest) == (3000, False, "")
    with pytest.raises(FailedPrecondition, match="3000 of 10240"):
        store.open(name)
    with store.begin(resuming(name, 3000)) as writer:
        writer.write(CONTENT[3000:])
        assert writer.finish().digest == SHA
    assert store.open(name).read_bytes() == CONTENT


@pytest.mark.parametrize("offset", [0, 2999, 3001])
def test_resuming_elsewhere_is_refused_and_changes_nothing(store: UploadStore, offset: int) -> None:
    name = broken_off(store, 3000)
    with pytest.raises(InvalidArgument) as caught:
        store.begin(resuming(name, offset))
    assert (caught.value.reason, caught.value.field) == ("OFFSET_MISMATCH", "header.offset")
    assert caught.value.metadata == {"committed_bytes": "3000"}
    with store.begin(resuming(name, 3000)) as writer:
        writer.write(CONTENT[3000:])
        assert writer.finish().complete


def test_a_new_upload_starts_at_zero(store: UploadStore) -> None:
    with refused(InvalidArgument, "OFFSET_MISMATCH", "header.offset"):
        store.begin(replace(HEADER, offset=1))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("format", UploadFormat.TAR),
        ("total_bytes", len(CONTENT) + 1),
        ("digest", "sha256:" + "0" * 64),
    ],
)
def test_a_resuming_header_must_not_change(store: UploadStore, field: str, value: Any) -> None:
    name = broken_off(store, 3000)
    with refused(InvalidArgument, "HEADER_CHANGED", f"header.{field}"):
        store.begin(replace(resuming(name, 3000), **{field: value}))


def test_a_resuming_header_may_keep_or_add_the_digest(store: UploadStore) -> None:
    name = broken_off(store, 3000)
    with store.begin(replace(resuming(name, 3000), digest="")) as writer:
        writer.write(b"x" * (len(CONTENT) - 3000))
        with refused(InvalidArgument, "DIGEST_MISMATCH", "header.digest"):
            writer.finish()
    with store.begin(replace(HEADER, digest="")) as writer:
        name = writer.name
    with store.begin(replace(HEADER, upload=name, digest="sha256:" + "0" * 64)) as writer:
        writer.write(CONTENT[:10])
    with store.begin(replace(HEADER, upload=name, offset=10, digest="")) as writer:
        writer.write(CONTENT[10:])
        with refused(InvalidArgument, "DIGEST_MISMATCH", "header.digest"):
            writer.finish()


def test_a_complete_upload_is_not_written_again(store: UploadStore) -> None:
    name = upload(store)
    with refused(FailedPrecondition, "UPLOAD_COMPLETE"):
        store.begin(replace(HEADER, upload=name, offset=len(CONTENT)))


def test_a_second_writer_is_turned_away(make: Make) -> None:
    store = make()
    writer = store.begin(HEADER)
    for other in (store, make()):
        with refused(Aborted, "UPLOAD_BUSY"):
            other.begin(resuming(writer.name, 0))
    writer.close()
    store.begin(resuming(writer.name, 0)).close()


def test_a_writer_that_is_closed_writes_nothing(store: UploadStore) -> None:
    writer = store.begin(HEADER)
    writer.write(CONTENT[:10])
    writer.close()
    writer.close()
    for late in (lambda: writer.write(CONTENT[10:]), writer.finish):
        with refused(Aborted, "UPLOAD_CLOSED"):
            late()
    assert store.get(writer.name).committed_bytes == 10


def test_closing_beside_writing_never_tears_a_chunk(store: UploadStore) -> None:
    total = 1 << 20
    writer = store.begin(UploadHeader(total_bytes=total))
    started = threading.Event()

    def write() -> None:
        with contextlib.suppress(Aborted):
            while True:
                writer.write(b"x" * 64)
                started.set()

    thread = threading.Thread(target=write)
    thread.start()
    started.wait()
    writer.close()
    thread.join()
    committed = store.get(writer.name).committed_bytes
    assert 0 < committed < total
    assert committed % 64 == 0


def test_other_bytes_than_announced_are_discarded(store: UploadStore, tmp_path: Path) -> None:
    writer = store.begin(HEADER)
    writer.write(CONTENT[:-1] + b"?")
    with refused(InvalidArgument, "DIGEST_MISMATCH", "header.digest"):
        writer.finish()
    with pytest.raises(NotFound):
        store.get(writer.name)
    assert list((tmp_path / "data/uploads").iterdir()) == []


@pytest.mark.parametrize("difference", [-1, 1])
def test_another_size_than_announced_is_discarded(store: UploadStore, difference: int) -> None:
    writer = store.begin(UploadHeader(total_bytes=len(CONTENT)))
    with refused(InvalidArgument, "SIZE_MISMATCH", "header.total_bytes"):
        writer.write(b"x" * (len(CONTENT) + difference))
        writer.finish()
    writer.close()
    with pytest.raises(NotFound):
        store.get(writer.name)


def test_a_large_chunk_is_refused_and_the_rest_kept(make: Make) -> None:
    store = make(max_bytes=8 << 20, max_total_bytes=8 << 20)
    with store.begin(UploadHeader(total_bytes=8 << 20)) as writer:
        writer.write(b"x")
        with refused(InvalidArgument, "CHUNK_TOO_LARGE", "chunk"):
            writer.write(b"x" * (MAX_CHUNK_BYTES + 1))
    assert store.get(writer.name).committed_bytes == 1


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"total_bytes": 0}, "total_bytes"),
        ({"total_bytes": -1}, "total_bytes"),
        ({"digest": "md5:00"}, "digest"),
        ({"digest": SHA.upper()}, "digest"),
        ({"digest": SHA + "\n"}, "digest"),
        ({"filename": "a/b"}, "filename"),
        ({"filename": "a\\b"}, "filename"),
        ({"filename": ".."}, "filename"),
        ({"filename": "a\x00"}, "filename"),
        ({"filename": "\ud800"}, "filename"),
        ({"filename": "é" * 128}, "filename"),
        ({"upload": "corpus"}, "upload"),
    ],
)
def test_a_bad_header_names_its_field(store: UploadStore, changes: Any, field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        store.begin(replace(HEADER, **changes))
    assert caught.value.field == f"header.{field}"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a" * 26,
        "uploads/",
        "uploads/" + "a" * 19,
        "uploads/" + "a" * 65,
        "uploads/" + "A" * 26,
        "uploads/" + "a" * 26 + "\n",
        "uploads/" + "\u0663" * 26,
        "uploads/../../../../../../etc/passwd",
        "uploads/aaaaaaaaaaaaaaaaaaaa/../bbbbbbbbbbbbbbbbbbbb",
        "/uploads/" + "a" * 26,
    ],
)
def test_a_name_that_is_none_is_refused_everywhere(store: UploadStore, name: str) -> None:
    def hold() -> None:
        with store.hold(name):
            pass

    for use in (store.get, store.open, store.delete, lambda name: hold()):
        with refused(InvalidArgument, "INVALID_UPLOAD_NAME", "name"):
            use(name)


def test_names_are_random_and_of_the_promised_form(store: UploadStore) -> None:
    name = upload(store, b"x")
    assert store.get(name).name == name
    ids = {random_id() for _ in range(1000)}
    assert len({name[:4] for name in ids}) > 990
    assert all(parse_name(f"uploads/{name}") == name for name in ids)


def test_unknown_uploads_are_not_found(store: UploadStore) -> None:
    name = "uploads/" + "a" * 26
    for use in (store.get, store.open, store.delete, lambda n: store.hold(n).__enter__()):
        with refused(NotFound, "UPLOAD_NOT_FOUND"):
            use(name)
    with refused(NotFound, "UPLOAD_NOT_FOUND"):
        store.begin(resuming(name, 0))


def test_a_link_in_place_of_the_data_is_not_followed(store: UploadStore, tmp_path: Path) -> None:
    name = broken_off(store, 3000)
    victim = tmp_path / "victim"
    victim.write_bytes(b"y" * 5000)
    data = tmp_path / "data" / name / "data"
    data.unlink()
    data.symlink_to(victim)
    with pytest.raises(StillroomError):
        store.begin(resuming(name, 3000))
    assert victim.read_bytes() == b"y" * 5000
