"""What surrounds the measuring: arguments, data, processes, reports."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks import __main__ as command
from benchmarks import distill, machine, meter, peer, ready, report, serving, stream
from benchmarks.data import FILES, Data, NoDataError
from benchmarks.figures import Span
from benchmarks.knobs import Knobs
from benchmarks.report import Report, Target
from benchmarks.worker import WorkerFailedError, worker

KNOBS = Knobs(package="p", teacher=Path("teacher"))


def fill(folder: Path) -> Data:
    """A tiny folder of data."""
    for file in FILES:
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).write_text(
            'text,category\n"a card, mine",card\n' if file.endswith("csv") else "2\ta\n"
        )
    for file in (folder / "sts").iterdir():
        file.write_text('4.5\the said "no\tno" he said\n')
    return Data.find({"STILLROOM_BENCH_DATA": str(folder)})


def test_data_is_read_as_it_is_written(tmp_path: Path) -> None:
    data = fill(tmp_path)
    assert data.banking77("test").texts == ["a card, mine"]
    assert data.banking77("train").labels == ["card"]
    assert data.trec("train").texts == ["a"]
    pairs = data.sts(2012)
    assert (pairs.first, pairs.second, pairs.scores) == (['he said "no'], ['no" he said'], [4.5])


def test_a_row_with_other_columns_is_named(tmp_path: Path) -> None:
    data = fill(tmp_path)
    (tmp_path / "trec" / "test.tsv").write_text("1\tfine\n2\tone\ttoo many\n")
    with pytest.raises(NoDataError, match=r"trec/test\.tsv, line 2: 3 columns"):
        data.trec("test")


def test_without_the_variable_it_says_what_it_wants(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("STILLROOM_BENCH_DATA", raising=False)
    assert command.main(["quality"]) == 2
    said = capsys.readouterr().err
    assert "STILLROOM_BENCH_DATA" in said
    assert "banking77/train.csv" in said


def test_missing_files_are_named(tmp_path: Path) -> None:
    fill(tmp_path)
    (tmp_path / "sts" / "2013.tsv").unlink()
    with pytest.raises(NoDataError, match=r"lacks sts/2013\.tsv\."):
        Data.find({"STILLROOM_BENCH_DATA": str(tmp_path)})


@pytest.mark.parametrize(
    "arguments", [["speed"], ["--rounds", "0"], ["--batches", "1,x"], ["--batches", "0"]]
)
def test_wrong_arguments_are_usage_errors(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(arguments)
    assert ended.value.code == 2


def test_a_package_without_a_model_is_a_usage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(tmp_path)
    monkeypatch.setenv("STILLROOM_BENCH_DATA", str(tmp_path))
    assert command.main(["--package", "no-such-package"]) == 2
    assert "no-such-package" in capsys.readouterr().err


def made_report(met: bool | None = True, elsewhere: float | None = 0.0) -> Report:
    """A report with one target."""
    targets = [Target("speed", "5", "6 or more", met)]
    return Report("stream", "how fast", [], targets, ["a note"], ["a gap"], {"x": 1}, elsewhere)


def test_only_named_benchmarks_run_and_json_has_their_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(tmp_path)
    monkeypatch.setenv("STILLROOM_BENCH_DATA", str(tmp_path))
    monkeypatch.setattr(command, "model_in_package", lambda package: tmp_path / package)
    asked: list[Knobs] = []

    def run(knobs: Knobs, data: Data, say: object) -> Report:
        asked.append(knobs)
        return made_report(met=False)

    monkeypatch.setattr(command, "BENCHMARKS", {"quality": None, "stream": run})
    file = tmp_path / "out.json"
    arguments = ["stream", "--batches", "8,16", "--rounds", "2", "--json", str(file)]
    assert command.main(arguments) == 0
    assert [(knobs.batches, knobs.rounds) for knobs in asked] == [((8, 16), 2)]
    found = json.loads(file.read_text())
    assert found["benchmarks"]["stream"]["values"] == {"x": 1}
    assert found["machine"]["python"]
    assert str(tmp_path) not in file.read_text()
    assert "MISSED: speed: 5, wanted 6 or more" in capsys.readouterr().out
    assert command.main([*arguments, "--strict"]) == 1


def test_a_report_says_what_it_was_measured_beside() -> None:
    assert made_report(elsewhere=0.05).calm
    assert "UNDER LOAD" in report.load(made_report(elsewhere=0.5))
    assert "UNDER LOAD" not in report.load(replace(made_report(elsewhere=0.5), timed=False))
    assert made_report(elsewhere=None).calm is None
    out = StringIO()
    report.show(Console(file=out, width=100), made_report(met=None))
    assert "not decided here: speed" in out.getvalue()
    assert "a gap" in out.getvalue()


def test_a_machine_is_described_by_what_matters(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: A CPU\nflags\t\t: fpu avx2 amx_bf16 sse\n")
    found = machine.describe(cpuinfo)
    assert (found.cpu, found.flags, found.native_bf16) == ("A CPU", ("avx2", "amx_bf16"), True)
    cpuinfo.write_text("flags : fpu avx2 avx512_vnni\n")
    assert not machine.describe(cpuinfo).native_bf16
    assert machine.describe(tmp_path / "none").flags == ()


def proc(folder: Path, busy: int, ticks: int, child: int) -> None:
    """A process 7 with one child 8, and the machine's own line, in ticks."""
    (folder / "stat").write_text(f"cpu  {busy} 0 0 9999 50 0 0 0 77 0\ncpu0 1 1 1\n")
    for pid, spent, family in ((7, ticks, "8"), (8, child, "")):
        (folder / f"{pid}/task/{pid}").mkdir(parents=True, exist_ok=True)
        (folder / f"{pid}/task/{pid}/children").write_text(family)
        fields = ["S", *["0"] * 10, str(spent), "0", "0", "0", *["0"] * 10]
        (folder / f"{pid}/stat").write_text(f"{pid} (a (b) c) {' '.join(fields)}\n")
        (folder / f"{pid}/status").write_text(f"Name:\tx\nVmHWM:\t    {pid} kB\n")


def test_cpu_counts_children_and_knows_what_others_did(tmp_path: Path) -> None:
    ticks = os.sysconf("SC_CLK_TCK")
    proc(tmp_path, busy=0, ticks=0, child=0)
    with meter.measured({"server": 7}, tmp_path) as reading:
        proc(tmp_path, busy=50 * ticks, ticks=2 * ticks, child=3 * ticks)
    assert reading.cpu == {"server": 5.0}
    assert reading.elsewhere == pytest.approx(45.0 / reading.wall)
    assert meter.peak_memory(7, tmp_path) == 15 * 1024


def test_nothing_is_known_without_proc(tmp_path: Path) -> None:
    with meter.measured({"server": 7}, tmp_path) as reading:
        pass
    assert reading.elsewhere is None
    assert meter.peak_memory(7, tmp_path) is None
    assert meter.elsewhere(0.0, tmp_path) is None


def test_a_fresh_process_is_measured_to_its_end() -> None:
    done = distill.fresh_process([sys.executable, "-c", "print(sum(range(10 ** 6)))"])
    assert done.said.strip() == "499999500000"
    assert done.span.wall >= done.span.cpu["process"] * 0.5 > 0
    assert done.memory > 1_000_000


def test_a_side_that_fails_is_no_figure() -> None:
    with pytest.raises(distill.SideFailedError, match="status 3"):
        distill.fresh_process([sys.executable, "-c", "raise SystemExit(3)"])


def test_only_our_whole_side_verifies() -> None:
    forms = {
        side: distill.command(side, KNOBS, Path("out"))[-1]
        for side in (distill.WHOLE, distill.TABLE_ONLY, distill.THEIRS)
    }
    assert list(forms.values()) == ["verify", "table", "256"]


class Asked:
    """A worker that takes a millisecond a text."""

    pid = os.getpid()

    def __init__(self) -> None:
        self.requests: list[tuple[int, int | None]] = []

    def ask(self, *, count: int, batch: int | None) -> float:
        self.requests.append((count, batch))
        return count / 1000


def test_cases_alternate_in_whole_calls() -> None:
    ours, theirs = Asked(), Asked()
    sides = {
        "ours": stream.Side(ours, {}, {}),  # type: ignore[arg-type]
        "theirs": stream.Side(theirs, {}, {}),  # type: ignore[arg-type]
    }
    knobs = replace(KNOBS, rounds=2, round_seconds=1.0)
    cases: list[stream.Case] = [("ours", 256), ("theirs", None)]
    order: list[str] = []
    spans = stream.alternate(sides, cases, 400, knobs, order.append)
    assert ours.requests[-2:] == [(1024, 256), (1024, 256)]  # 1,000 texts in whole messages
    assert theirs.requests[-2:] == [(800, None), (800, None)]
    assert [one.rate for one in spans["ours", 256]] == pytest.approx([1000, 1000])
    assert [text.partition(":")[2].split(",")[0].strip() for text in order[-4:]] == [
        "ours",
        "theirs",
        "ours",
        "theirs",
    ]


def test_a_span_has_at_least_one_message() -> None:
    asked = Asked()
    span = stream.Side(asked, {}, {}).span(1, 32)  # type: ignore[arg-type]
    assert span == Span(32, 0.032, {}, span.elsewhere)


def test_a_worker_that_dies_is_a_failure(tmp_path: Path) -> None:
    module = "benchmarks.sides.stream_client"
    with (
        worker(module, str(tmp_path / "none"), "m") as asked,
        pytest.raises(WorkerFailedError, match="stream_client ended with status 1"),
    ):
        asked.ask(address="nowhere")


def test_servers_say_where_they_listen() -> None:
    line = "stillroom ready address=127.0.0.1:5 metrics=http://127.0.0.1:6/metrics data_dir=/a b"
    assert serving.address_in(line) == "127.0.0.1:5"
    assert serving.address_in("Traceback (most recent call last):") is None
    assert serving.environment({"STILLROOM_TOKEN": "x", "PATH": "/bin"}) == {"PATH": "/bin"}


def test_a_server_that_does_not_start_is_explained(tmp_path: Path) -> None:
    flags = ["--max-texts", "none"]
    with (
        pytest.raises(serving.ServerFailedError, match="max_texts"),
        serving.serving(tmp_path / "data", tmp_path / "log", *flags),
    ):
        pass


def test_an_installed_server_has_compiled_files(tmp_path: Path) -> None:
    found = ready.installed({"PYTHONDONTWRITEBYTECODE": "1", "PATH": "/bin"}, tmp_path)
    assert found == {"PATH": "/bin", "PYTHONPYCACHEPREFIX": str(tmp_path)}


def test_what_a_process_holds_now_is_with_or_without_its_children(tmp_path: Path) -> None:
    proc(tmp_path, busy=0, ticks=0, child=0)
    for pid in (7, 8):
        (tmp_path / f"{pid}/status").write_text(f"VmHWM:\t 99 kB\nVmRSS:\t {pid} kB\n")
    assert meter.resident(7, tmp_path) == 15 * 1024
    assert meter.resident(7, tmp_path, family=False) == 7 * 1024
    assert meter.resident(9, tmp_path) is None


def test_the_peer_is_told_where_the_student_is(tmp_path: Path) -> None:
    peer.write_settings(tmp_path, Path("/s"), peer.Setting(2, 8), [1, 2, 3])
    server = json.loads((tmp_path / "settings.json").read_text())
    assert (server["grpc_port"], server["parallel_workers"]) == (2, 2)
    model = json.loads((tmp_path / "model-settings.json").read_text())
    assert model["parameters"] == {"uri": "/s"}


def test_a_peer_that_cannot_be_installed_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    pins = tmp_path / "peer.txt"
    pins.write_text("not a requirement !!\n")
    with pytest.raises(peer.PeerFailedError, match=r"peer\.txt cannot be installed"):
        peer.interpreter(pins)
    assert list((tmp_path / "cache" / "stillroom-bench").iterdir()) == []
