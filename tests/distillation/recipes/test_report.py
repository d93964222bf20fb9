"""People's own evaluation files, copied before the work, and the report that is put together."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from distillation.contexts import Killed
from distillation.recipes.jobs import job_of
from distillation.recipes.room import TEXTS, Room, asking

from stillroom_registry.errors import InvalidArgument, NotFound, PermissionDenied, StillroomError
from stillroom_server.distillation.recipes import report

PAIRS = "5\tthe house\tthe house\n0\tthe fox\tthe room\n3\tthe dog\tthe fox\n" * 4


def evaluation(source: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": "own", "kind": "similarity", "source": source, **more}


def asked(path: Path, **more: Any) -> dict[str, Any]:
    return asking("static", evaluations=[evaluation({"path": str(path)}, **more)])


def test_a_file_is_copied_and_what_becomes_of_it_later_is_nothing(room: Room) -> None:
    pairs = room.root / "pairs.tsv"
    pairs.write_text(PAIRS)
    job = job_of(room, asked(pairs))
    (before,) = report.evaluations_of(job)
    pairs.write_text("no longer what it was")
    assert report.evaluations_of(job)[0].data.scores.tolist() == before.data.scores.tolist()
    pairs.unlink()
    assert report.evaluations_of(job)[0].texts == before.texts == 24


@pytest.mark.slow
def test_an_attempt_after_a_kill_has_the_same_data(room: Room) -> None:
    pairs = room.root / "pairs.tsv"
    pairs.write_text(PAIRS)
    room.settings["allow_root"] = [str(room.root)]
    request = {**asking("transformer"), "evaluations": asked(pairs)["evaluations"]}
    context = room.context()
    context.die_at = 2
    with pytest.raises(Killed):
        room.attempt(request, context)
    pairs.write_text("5\tgone\n")
    context.die_at = 0
    (score,) = room.distill(request, context)["report"]["scores"]
    assert (score["name"], score["count"]) == ("own", 12)


def test_labels_may_have_a_file_of_their_own_to_test_on(room: Room) -> None:
    for name in ("train", "test"):
        rows = [f"{'still' if i % 2 else 'room'},the house {i}" for i in range(8)]
        (room.root / f"{name}.csv").write_text("label,text\n" + "\n".join(rows) + "\n")
    request = asked(
        room.root / "train.csv", kind="labels", test={"path": str(room.root / "test.csv")}
    )
    job = job_of(room, request)
    (found,) = report.evaluations_of(job)
    copies = sorted(path.name for path in job.workspace.glob("evaluation-*"))
    assert copies == ["evaluation-0-test.csv", "evaluation-0.csv"]
    assert (found.kind, found.texts) == ("labels", 16)


def test_an_upload_is_read_from_its_own_file(room: Room) -> None:
    stored = room.root / "bytes"
    stored.write_text(PAIRS)
    source = {"upload": "uploads/x", "file": str(stored)}
    job = job_of(room, asking("static", evaluations=[evaluation(source)]))
    assert report.evaluations_of(job)[0].texts == 24
    gone = job_of(
        room, asking("static", evaluations=[evaluation({**source, "file": str(room.root / "no")})])
    )
    with pytest.raises(NotFound) as caught:
        report.evaluations_of(gone)
    assert caught.value.field == "evaluations[0]"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "0 pairs"),
        (b"5\tthe house\n", "line 1"),
        (PAIRS.encode() + b"five\ta\tb\n", "line 13"),
        (b"\xff\xfe5\x00", "UTF-16"),
        (PAIRS.encode() + b"1\t\xe9t\xe9\tb\n", "line 13"),
    ],
)
def test_a_bad_file_is_refused_by_its_field(room: Room, content: bytes, words: str) -> None:
    pairs = room.root / "pairs.tsv"
    pairs.write_bytes(content)
    with pytest.raises(InvalidArgument, match=words) as caught:
        report.evaluations_of(job_of(room, asked(pairs)))
    assert (caught.value.reason, caught.value.field) == ("EVALUATION_INVALID", "evaluations[0]")


def test_a_file_too_large_is_refused_before_it_is_kept(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "MOST_BYTES", 100)
    pairs = room.root / "pairs.tsv"
    pairs.write_text(PAIRS)
    job = job_of(room, asked(pairs))
    with pytest.raises(InvalidArgument, match="more than 100 bytes"):
        report.evaluations_of(job)
    assert not list(job.workspace.glob("evaluation-*"))


def test_a_path_outside_the_roots_is_refused(room: Room) -> None:
    with pytest.raises(PermissionDenied) as caught:
        report.evaluations_of(job_of(room, asked(Path("/etc/hostname"))))
    assert caught.value.field == "evaluations[0]"


def test_a_name_of_any_length_can_be_copied(room: Room) -> None:
    pairs = room.root / ("a." + "x" * 240)
    pairs.write_text(PAIRS)
    assert report.evaluations_of(job_of(room, asked(pairs)))[0].texts == 24


def test_bad_data_is_refused_before_the_teacher_is_loaded(room: Room) -> None:
    pairs = room.root / "pairs.tsv"
    pairs.write_text("many\ta\tb\n")
    room.settings["allow_root"] = [str(room.root)]
    context = room.context()
    with pytest.raises(StillroomError):
        room.distill({**asking("transformer"), **asked(pairs, name="x")}, context)
    assert set(context.phases) <= {"corpus"}


def test_the_report_says_what_the_corpus_was(room: Room) -> None:
    texts = ["the quick brown fox", "", "the quick brown fox", *TEXTS]
    found = room.distill(asking("transformer", texts=texts))["report"]
    assert found["recipe"] == "transformer"
    assert (found["corpus"]["blank"], found["corpus"]["duplicates"]) == (1, 1)
    assert found["corpus"]["texts"] == len(texts) - 2
    assert room.registry.resolve("small").metadata["report"] == found
