"""From a file to shards: what is kept, what is dropped, and that it is the same every time."""

from __future__ import annotations

import errno
import gzip
import os
import subprocess
import sys
from pathlib import Path

import pytest
from distillation.corpus.support import (
    Recorder,
    all_texts,
    from_bytes,
    from_file,
    from_texts,
    texts_of,
)

from stillroom_registry.errors import (
    Cancelled,
    DataLoss,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    StillroomError,
)
from stillroom_server.distillation.corpus import SHARD_TEXTS, CorpusOptions, ingest, shards
from stillroom_server.distillation.corpus.cleaning import MAX_TEXT_BYTES
from stillroom_server.security.paths import AllowedRoots

MANY = [f"text number {i}" for i in range(5000)]
LINES = ("\n".join(MANY) + "\n").encode()


def test_every_text_is_there_once_in_full_shards(tmp_path: Path) -> None:
    corpus = from_bytes(LINES, tmp_path / "c", held_out=0.1, seed=3)
    training, held_out = texts_of(corpus)
    assert sorted(training + held_out) == sorted(MANY)
    assert set(training).isdisjoint(held_out)
    assert 400 < len(held_out) < 600
    assert [shard.count for shard in corpus.training[:-1]] == [SHARD_TEXTS] * 2
    assert corpus.facts | {"digest": "", "source": {}} == {
        "lines": 5000,
        "texts": 5000,
        "blank": 0,
        "duplicates": 0,
        "cut": 0,
        "held_out": len(held_out),
        "bytes": len(LINES) - 5000,
        "digest": "",
        "source": {},
    }


def test_progress_is_told_in_bytes_of_the_source(tmp_path: Path) -> None:
    path, context = tmp_path / "big.txt", Recorder()
    path.write_bytes(b"".join(b"line %d of a file\n" % i for i in range(40_000)))
    from_file(path, tmp_path / "c", context)
    size = path.stat().st_size
    assert ("corpus", size, size, "bytes") in context.told
    done = [told[1] for told in context.told[:-1]]
    assert len(done) >= 3
    assert done == sorted(done)


def test_lines_are_cleaned_and_duplicates_dropped(tmp_path: Path) -> None:
    data = "\ufeffone\r\ntwo\x00\x1bwords\r\n\n   \none\n\tone \nthree\x85 é\nlast".encode()
    corpus = from_bytes(data, tmp_path / "c")
    assert all_texts(corpus) == ["last", "one", "three  é", "two  words"]
    facts = corpus.facts
    assert (facts["lines"], facts["blank"], facts["duplicates"]) == (8, 2, 2)


def test_a_long_line_is_cut_on_a_character(tmp_path: Path) -> None:
    long = "é" * 600_000  # 1.2 MB
    corpus = from_bytes(f"a\n{long}\nb\n{long}ü\n".encode(), tmp_path / "c")
    assert all_texts(corpus) == ["a", "b", "é" * (MAX_TEXT_BYTES // 2)]
    assert (corpus.facts["cut"], corpus.facts["duplicates"]) == (1, 1)


def test_a_text_of_the_longest_length_is_whole(tmp_path: Path) -> None:
    corpus = from_texts(["x" * MAX_TEXT_BYTES, "y" * (MAX_TEXT_BYTES + 1)], tmp_path / "c")
    assert sorted(map(len, all_texts(corpus))) == [MAX_TEXT_BYTES] * 2
    assert corpus.facts["cut"] == 1


def test_inline_texts_may_hold_line_breaks_and_half_characters(tmp_path: Path) -> None:
    corpus = from_texts(["a\nb", "c\r\nd", "half \ud83d"], tmp_path / "c")
    assert all_texts(corpus) == ["a b", "c  d", "half \ufffd"]


def test_gzip_is_known_by_its_bytes(tmp_path: Path) -> None:
    plain = from_bytes(LINES, tmp_path / "plain")
    packed = from_bytes(gzip.compress(LINES), tmp_path / "packed", "corpus.txt.gz")
    assert packed.digest == plain.digest


@pytest.mark.parametrize(
    ("data", "reason", "words"),
    [
        (b"", "CORPUS_EMPTY", "no text"),
        (b"\n \n\r\n", "CORPUS_EMPTY", "no text"),
        (b"fine\nfine too\nbad \xff byte\n", "CORPUS_NOT_UTF8", "line 3"),
        (b"fine\ncut short \xe2\x82", "CORPUS_NOT_UTF8", "line 2"),
        ("größe\n".encode("latin-1"), "CORPUS_NOT_UTF8", "line 1"),
        ("a line\n".encode("utf-16"), "CORPUS_NOT_UTF8", "UTF-16"),
        ("a line\n".encode("utf-16-le"), "CORPUS_NOT_UTF8", "UTF-16"),
        (gzip.compress(LINES)[:-20], "CORPUS_CORRUPT", "gzip"),
        (b"PAR1 is the beginning of nothing", "CORPUS_CORRUPT", "Parquet"),
    ],
)
def test_a_bad_file_is_refused(data: bytes, reason: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=words) as caught:
        from_bytes(data, tmp_path / "c")
    assert caught.value.reason == reason
    assert caught.value.field in ("corpus", "corpus.path")


def test_the_line_of_a_bad_byte_is_counted_across_chunks(tmp_path: Path) -> None:
    data = b"0123456789\n" * 100_000 + b"\xc3\x28\n"
    with pytest.raises(InvalidArgument) as caught:
        from_bytes(data, tmp_path / "c")
    assert caught.value.metadata == {"line": "100001"}


def test_a_path_outside_the_roots_is_denied(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    secret, link = tmp_path / "secret.txt", tmp_path / "open" / "link.txt"
    secret.write_text("secret\n")
    link.symlink_to(secret)
    roots = AllowedRoots([tmp_path / "open"])
    for path in (secret, link):
        with pytest.raises(PermissionDenied):
            ingest({"path": str(path)}, tmp_path / "c", CorpusOptions(), Recorder(), roots=roots)
    with pytest.raises(PermissionDenied):  # without roots, nothing is allowed
        ingest({"path": str(secret)}, tmp_path / "c", CorpusOptions(), Recorder())


def test_an_upload_is_read_and_a_vanished_one_is_reported(tmp_path: Path) -> None:
    file = tmp_path / "data"
    file.write_bytes(LINES)
    source = {"upload": "uploads/u", "file": str(file)}
    corpus = ingest(source, tmp_path / "c", CorpusOptions(), Recorder())
    assert all_texts(corpus) == sorted(MANY)
    assert corpus.facts["source"] == {"upload": "uploads/u"}
    gone = {"upload": "uploads/u", "file": str(tmp_path / "gone")}
    with pytest.raises(NotFound) as caught:
        ingest(gone, tmp_path / "other", CorpusOptions(), Recorder())
    assert caught.value.reason == "UPLOAD_NOT_FOUND"


@pytest.mark.parametrize("change", ["grow", "shrink"])
def test_a_file_that_changes_meanwhile_is_refused(change: str, tmp_path: Path) -> None:
    path = tmp_path / "moving.txt"
    path.write_bytes(b"a line of it\n" * 100_000)

    def alter(number: int) -> None:
        if number == 1:
            os.truncate(path, path.stat().st_size + (7 if change == "grow" else -700_000))

    with pytest.raises(FailedPrecondition) as caught:
        from_file(path, tmp_path / "c", Recorder(alter))
    assert caught.value.reason == "CORPUS_CHANGED"


def test_a_finished_corpus_outlives_its_source(tmp_path: Path) -> None:
    first = from_bytes(LINES, tmp_path / "c")
    (tmp_path / "corpus.txt").unlink()
    again = from_file(tmp_path / "corpus.txt", tmp_path / "c")
    assert again == first


def test_other_options_make_another_corpus(tmp_path: Path) -> None:
    first = from_bytes(LINES, tmp_path / "c", seed=1)
    second = from_bytes(LINES, tmp_path / "c", seed=2)
    assert first.digest != second.digest
    assert all_texts(second) == sorted(MANY)


class Killed(BaseException):
    pass


@pytest.mark.parametrize("write", range(5))
def test_killed_at_any_write_the_next_attempt_makes_the_same(
    write: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = from_bytes(LINES, tmp_path / "whole")
    real, count = Path.replace, 0

    def dying(self: Path, target: Path) -> Path:
        nonlocal count
        count += 1
        if count == write + 1:
            raise Killed
        return real(self, target)

    folder = tmp_path / "c"
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", dying)
        patch.setattr(Path, "unlink", lambda *_, **__: None)  # nobody tidies after a kill
        with pytest.raises(Killed):
            from_bytes(LINES, folder)
    assert list(folder.glob("*.unfinished"))
    again = from_bytes(LINES, folder)
    assert again.digest == expected.digest
    assert texts_of(again) == texts_of(expected)
    assert not list(folder.glob("*.unfinished"))


@pytest.mark.parametrize("file", ["training-00001.txt", "held-out-00000.txt", "corpus.json"])
@pytest.mark.parametrize("damage", ["gone", "flipped", "short"])
def test_a_damaged_corpus_is_made_anew(file: str, damage: str, tmp_path: Path) -> None:
    first = from_bytes(LINES, tmp_path / "c")
    path = tmp_path / "c" / file
    data = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(data[:-9] + (b"" if damage == "short" else b"X" + data[-8:]))
    again = from_bytes(LINES, tmp_path / "c")
    assert again == first
    assert all_texts(again) == sorted(MANY)


def test_damage_while_it_is_used_is_told(tmp_path: Path) -> None:
    corpus = from_bytes(LINES, tmp_path / "c")
    corpus.training[0].path.write_bytes(b"other\n")
    with pytest.raises(DataLoss) as caught:
        corpus.training[0].texts()
    assert caught.value.reason == "CORPUS_DAMAGED"


def test_a_full_disk_is_told_and_leaves_no_mark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(ResourceExhausted) as caught:
            from_bytes(LINES, tmp_path / "c")
    assert caught.value.reason == "DISK_FULL"
    assert not (tmp_path / "c" / "corpus.json").exists()
    assert all_texts(from_bytes(LINES, tmp_path / "c")) == sorted(MANY)


def test_a_cancellation_is_let_through_soon(tmp_path: Path) -> None:
    path = tmp_path / "big.txt"
    path.write_bytes(b"".join(b"line %d of a file\n" % i for i in range(60_000)))

    def cancel(number: int) -> None:
        if number == 2:
            raise Cancelled("stop")

    context = Recorder(cancel)
    with pytest.raises(Cancelled):
        from_file(path, tmp_path / "c", context)
    assert context.checks == 2


def test_too_many_texts_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from stillroom_server.distillation.corpus import ingest as room

    module = sys.modules[room.__module__]
    monkeypatch.setattr(module, "MAX_TEXTS", 4999)
    with pytest.raises(ResourceExhausted) as caught:
        from_bytes(LINES, tmp_path / "c")
    assert caught.value.reason == "CORPUS_TOO_LARGE"


def test_shards_are_what_their_digest_says(tmp_path: Path) -> None:
    corpus = from_bytes(LINES, tmp_path / "c")
    for shard in corpus.training:
        text = "".join(f"{line}\n" for line in shard.texts())
        assert shards.digest_of(text.encode()) == shard.digest


_MEASURE = """
import sys
from pathlib import Path
from distillation.corpus.support import from_file
def peak():  # in KiB; what getrusage knows begins with the parent's peak
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])
from_file(Path(sys.argv[1]), Path(sys.argv[2] + "/warm"))
before = peak()
corpus = from_file(Path(sys.argv[3]), Path(sys.argv[2] + "/big"))
print(peak() - before, corpus.facts["cut"])
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    small, big = tmp_path / "small.txt", tmp_path / "big.txt"
    small.write_bytes(LINES)
    with big.open("wb") as out:
        out.write(b"x" * (50 << 20) + b"\n")  # a line of 50 MB
        out.writelines(b"%d " % i + b"word " * 200 + b"\n" for i in range(50_000))
    paths = [str(small), str(tmp_path), str(big)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE, *paths],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    grown, cut = map(int, done.stdout.split())
    assert cut == 1
    assert grown < 32 << 10  # KiB; the file has 100 MB


def test_every_refusal_is_an_error_of_the_domain() -> None:
    for value in [None, [], {}, {"texts": "x"}, {"path": ""}, {"upload": "u"}, {"texts": [1]}]:
        with pytest.raises(StillroomError):
            ingest(value, Path("/nowhere"), CorpusOptions(), Recorder())
