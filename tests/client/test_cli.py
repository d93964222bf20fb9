"""The command line: what it prints, where, and how it exits."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf import empty_pb2
from google.rpc import code_pb2

from client.fake_server import (
    EMBED_STREAM,
    FakeServer,
    fail,
    status,
    vector,
)
from client.test_operations import DISTILL, LRO, NAME, SUCCEEDED, WATCH, operation, watching
from stillroom import Operation, errors
from stillroom.cli import exits
from stillroom.cli.npy import NpyWriter, header
from stillroom.cli.session import safe
from stillroom.v1 import distillation_service_pb2, model_pb2
from stillroom.v1 import model_service_pb2 as models
from stillroom.v1 import operation_service_pb2 as operations

MODELS = "stillroom.v1.ModelService"


def test_every_status_has_an_exit_code() -> None:
    assert exits.BY_CODE.keys() == {kind.code for kind in errors.CLASSES.values()}
    assert 0 not in exits.BY_CODE.values()
    from stillroom.cli.app import app

    for value in (*exits.BY_CODE.values(), exits.INTERRUPTED):
        assert f" {value} " in str(app.info.epilog)
        assert f"\n{value} " in str(exits.__doc__)


@pytest.mark.parametrize("code", [c for c in grpc.StatusCode if c is not grpc.StatusCode.OK])
def test_the_exit_status_is_that_of_the_error(
    server: FakeServer, run: Any, code: grpc.StatusCode
) -> None:
    refusal = status(code.value[0], "because", reason="WHY", field="name")
    server.on(f"{MODELS}/GetModel", lambda r, context: fail(context, refusal, again=False))
    plain = run("models", "show", "m")
    assert plain.code == exits.BY_CODE[code.name]
    assert plain.err == "error: because [name]\n"
    assert plain.out == ""
    machine = run("models", "show", "m", "--json")
    assert machine.code == plain.code
    assert json.loads(machine.err)["error"] == {
        "code": code.name,
        "reason": "WHY",
        "message": "because",
        "field": "name",
        "metadata": {},
        "retry_after": None,
    }


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["models", "nonsense"],
        ["models", "show"],
        ["models", "list", "--nonsense"],
        ["models", "alias", "set", "m", "a", "one"],
        ["models", "alias", "set", "m", "a"],
        ["models", "alias", "delete", "m"],
        ["models", "rollback", "m"],
        ["models", "update", "m"],
        ["models", "copy", "m"],
        ["models", "copy", "m", "n", "--to-token", "secret"],
        ["models", "import", "m"],
        ["models", "import", "m", "--hub", "a/b", "--path", "/x"],
        ["embed", "m"],
        ["embed", "m", "text", "--file", "x"],
        ["embed", "m", "--file", "/nonexistent"],
        ["distill", "t"],
        ["distill", "t", "--name", "s", "--label", "x"],
        ["distill", "t", "--name", "s", "--dimensions", "8", "--variance", "0.5"],
        ["models", "list", "--target", "http://x"],
        ["models", "list", "--client-key", "/nonexistent"],
    ],
)
def test_wrong_usage_is_2(run: Any, arguments: list[str]) -> None:
    ran = run(*arguments)
    assert ran.code == exits.USAGE
    assert ran.err


def test_version(run: Any) -> None:
    assert run("version").out == "stillroom 0.1.0\n"
    assert json.loads(run("--json", "version").out) == {"version": "0.1.0"}


def test_options_go_before_or_after_the_command(server: FakeServer, run: Any) -> None:
    server.answer(f"{MODELS}/ListModels", models.ListModelsResponse())
    assert run("--target", "127.0.0.1:1", "models", "list", "--target", server.target).code == 0
    assert run("models", "list", "--json").out == run("--json", "models", "list").out == "[]\n"
    assert run("--target", "127.0.0.1:1", "models", "list").code == 5


HOSTILE = "[red]x[/red] :smile: \x1b[31m\u202e"


def test_text_of_others_cannot_steer_the_terminal(server: FakeServer, run: Any) -> None:
    answer = models.ListModelsResponse()
    answer.models.add(name="models/m", kind=model_pb2.MODEL_KIND_STUDENT, description=HOSTILE)
    server.answer(f"{MODELS}/ListModels", answer)
    ran = run("models", "list")
    assert "[red]x[/red] :smile: \\x1b[31m\\u202e" in ran.out
    assert "\x1b" not in ran.out
    assert json.loads(run("models", "list", "--json").out)[0]["description"] == HOSTILE
    assert safe("naïve 漢字 🙂\n") == "naïve 漢字 🙂\n"


def test_models_for_machines(server: FakeServer, run: Any) -> None:
    model = model_pb2.Model(name="models/m", latest_version=2, aliases={"b": 2, "a": 1})
    model.create_time.FromSeconds(1_900_000_000)
    version = model_pb2.ModelVersion(name="models/m/versions/2", version=2, total_bytes=10)
    version.metadata.update({"dimensions": 256, "share": 0.5})
    version.files.add(path="config.json", size_bytes=10, digest="sha256:00")
    server.answer(f"{MODELS}/GetModel", models.GetModelResponse(model=model))
    server.answer(
        f"{MODELS}/ListModelVersions", models.ListModelVersionsResponse(model_versions=[version])
    )
    server.answer(
        f"{MODELS}/GetModelVersion", models.GetModelVersionResponse(model_version=version)
    )
    shown = json.loads(run("models", "show", "m", "--json").out)
    assert shown["aliases"] == {"a": 1, "b": 2}
    assert shown["create_time"] == "2030-03-17T17:46:40Z"
    assert shown["versions"][0]["metadata"] == {"dimensions": 256, "share": 0.5}
    assert json.loads(run("models", "show", "m@2", "--json").out) == shown["versions"][0]
    people = run("models", "show", "m@2").out
    assert "config.json" in people
    assert "dimensions  256" in people
    assert "a=1" not in run("models", "show", "m").err


def test_alias_and_delete(server: FakeServer, run: Any) -> None:
    alias = model_pb2.ModelAlias(name="models/m/aliases/prod", version=3)
    server.answer(f"{MODELS}/SetModelAlias", models.SetModelAliasResponse(alias=alias))
    server.answer(f"{MODELS}/DeleteModelAlias", models.DeleteModelAliasResponse())
    server.answer(f"{MODELS}/DeleteModel", models.DeleteModelResponse())
    server.answer(f"{MODELS}/DeleteModelVersion", models.DeleteModelVersionResponse())
    assert run("models", "alias", "set", "m", "prod", "3").out == "m@prod is version 3\n"
    assert run("models", "alias", "delete", "m", "prod").code == 0
    assert run("models", "delete", "m@3", "--force").code == 0
    assert run("models", "delete", "m").code == 0
    assert [call.rpartition("/")[2] for call in server.calls] == [
        "SetModelAlias",
        "DeleteModelAlias",
        "DeleteModelVersion",
        "DeleteModel",
    ]


def test_embed_to_standard_output(run: Any) -> None:
    ran = run("embed", "fake", "one text", HOSTILE)
    lines = [json.loads(line) for line in ran.out.splitlines()]
    assert [line["vector"] for line in lines] == [vector("one text"), vector(HOSTILE)]
    assert lines[1]["index"] == 1
    assert lines[0]["model_version"] == "models/fake/versions/1"
    assert ran.code == 0


def test_a_reader_that_leaves_ends_it_quietly(server: FakeServer) -> None:
    program = [sys.executable, "-m", "stillroom", "embed", "fake", "--target", server.target]
    texts = ["x" * 10] * 9000
    with subprocess.Popen(
        [*program, *texts], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == exits.FAILURE


def test_embed_a_file(run: Any, tmp_path: Path) -> None:
    texts = [f"line {index}" for index in range(700)]
    texts[3] = ""
    (tmp_path / "t.txt").write_bytes("\ufeff".encode() + "\r\n".join(texts).encode())
    output = tmp_path / "v.npy"
    output.write_text("old")
    ran = run("embed", "fake", "--file", str(tmp_path / "t.txt"), "--output", str(output))
    assert ran.code == 0, ran.err
    assert ran.out == ""
    assert np.load(output).tolist() == [vector(text) for text in texts]
    assert {path.name for path in tmp_path.iterdir()} == {"t.txt", "v.npy"}
    ran = run("embed", "fake", "--file", str(tmp_path / "t.txt"), "--output", str(output), "--json")
    assert json.loads(ran.out)["rows"] == 700


def test_embed_standard_input(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"a\nbc")))
    lines = run("embed", "fake", "--file", "-").out.splitlines()
    assert [json.loads(line)["vector"] for line in lines] == [vector("a"), vector("bc")]


def test_a_file_that_is_not_text(run: Any, tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_bytes(b"good\nb\xffd\n")
    ran = run(
        "embed", "fake", "--file", str(tmp_path / "t.txt"), "--output", str(tmp_path / "v.npy")
    )
    assert ran.code == exits.USAGE
    assert "line 2 is not UTF-8" in ran.err
    assert [path.name for path in tmp_path.iterdir()] == ["t.txt"]


def test_an_empty_file_and_a_bad_output(run: Any, tmp_path: Path) -> None:
    (tmp_path / "t.txt").touch()
    arguments = ["embed", "fake", "--file", str(tmp_path / "t.txt"), "--output"]
    assert run(*arguments, str(tmp_path / "v.npy")).code == exits.USAGE
    (tmp_path / "t.txt").write_text("x")
    assert run(*arguments, str(tmp_path)).code == 4
    assert run(*arguments, str(tmp_path / "none" / "v.npy")).code == 4
    assert [path.name for path in tmp_path.iterdir()] == ["t.txt"]


def test_a_failure_midway_keeps_the_old_output(
    server: FakeServer, run: Any, tmp_path: Path
) -> None:
    (tmp_path / "t.txt").write_text("x\n" * 1000)
    (tmp_path / "v.npy").write_text("old")

    def behavior(requests: Any, context: Any) -> Any:
        from client.fake_server import stream_answer

        yield stream_answer(next(requests))
        fail(context, status(code_pb2.NOT_FOUND, "gone"))

    server.on(EMBED_STREAM, behavior)
    ran = run(
        "embed", "fake", "--file", str(tmp_path / "t.txt"), "--output", str(tmp_path / "v.npy")
    )
    assert ran.code == 3
    assert (tmp_path / "v.npy").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 2


def test_a_line_without_end(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stillroom.cli.textfile.MAX_LINE_BYTES", 100)
    (tmp_path / "t.txt").write_text("ok\n" + "x" * 101)
    ran = run("embed", "fake", "--file", str(tmp_path / "t.txt"))
    assert ran.code == exits.USAGE
    assert "line 2 has more than 100 bytes" in ran.err


def test_npy_headers_hold_any_count(tmp_path: Path) -> None:
    for rows in (0, 1, 10**18):
        made = header(np.dtype("<f4"), rows, 4096)
        assert len(made) == 128
        file = io.BytesIO(made)
        np.lib.format.read_magic(file)
        assert np.lib.format.read_array_header_1_0(file) == ((rows, 4096), False, np.dtype("<f4"))
    with NpyWriter(tmp_path / "v.npy") as writer:
        writer.append(np.arange(6, dtype=np.float16).reshape(2, 3))
        writer.append(np.ones((4, 6), np.float16)[:, ::2])
        with pytest.raises(errors.Internal):
            writer.append(np.ones((1, 4), np.float16))
    assert np.load(tmp_path / "v.npy").tolist() == [[0, 1, 2], [3, 4, 5], *[[1, 1, 1]] * 4]


def test_distill_waits_and_reports(server: FakeServer, run: Any) -> None:
    response = distillation_service_pb2.DistillResponse(teacher_version="models/t/versions/1")
    response.model_version.name = "models/s/versions/1"
    response.report.student_bytes, response.report.teacher_bytes = 15_000_000, 90_000_000
    response.report.dimensions = 256
    response.report.seconds["encode"] = 65.0
    done = operation(operations.OPERATION_STATE_SUCCEEDED, response=response)
    server.answer(DISTILL, operation(operations.OPERATION_STATE_PENDING))
    server.on(WATCH, watching(operation(done=5), done))
    ran = run("distill", "t", "--name", "s", "--dimensions", "256", "--label", "a=b=c")
    assert ran.code == 0, ran.err
    assert "models/s/versions/1" in ran.out
    assert "6.0 times" in ran.out
    assert "1 min 5 s" in ran.out
    assert "encode" in ran.err
    request: Any = server.requests[0]
    assert request.static.dimensions == 256
    assert dict(request.labels) == {"a": "b=c"}
    machine = run("distill", "t", "--name", "s", "--json")
    assert json.loads(machine.out)["response"]["report"]["dimensions"] == 256
    assert [json.loads(line)["state"] for line in machine.err.splitlines()] == [
        "running",
        "succeeded",
    ]


def test_distill_can_leave_it_running(server: FakeServer, run: Any) -> None:
    server.answer(DISTILL, operation(operations.OPERATION_STATE_PENDING))
    ran = run("distill", "t", "--name", "s", "--no-wait")
    assert (ran.code, ran.out) == (0, f"{NAME}\n")
    machine = run("distill", "t", "--name", "s", "--no-wait", "--json")
    assert json.loads(machine.out)["done"] is False
    assert WATCH not in server.calls


@pytest.mark.parametrize(("code", "exit_code"), [(code_pb2.CANCELLED, 8), (code_pb2.DATA_LOSS, 1)])
def test_an_operation_that_fails_fails_its_command(
    server: FakeServer, run: Any, code: int, exit_code: int
) -> None:
    server.answer(DISTILL, operation())
    server.answer(f"{LRO}/GetOperation", operation())
    server.on(WATCH, watching(operation(done=1), operation(error=status(code, "it broke"))))
    for arguments in (["distill", "t", "--name", "s"], ["operations", "watch", "1"]):
        for machine in ([], ["--json"]):
            ran = run(*arguments, *machine)
            assert ran.code == exit_code
            assert "it broke" in ran.err


def test_an_interrupt_leaves_it_running_and_says_so(
    server: FakeServer, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(self: Any) -> Any:
        raise KeyboardInterrupt
        yield

    server.answer(DISTILL, operation())
    monkeypatch.setattr(Operation, "watch", interrupted)
    ran = run("distill", "t", "--name", "s")
    assert ran.code == exits.INTERRUPTED
    assert f"stillroom operations watch {NAME}" in ran.err
    assert f"{LRO}/CancelOperation" not in server.calls


def test_operations(server: FakeServer, run: Any) -> None:
    from google.longrunning import operations_pb2 as lro

    server.answer(
        f"{LRO}/ListOperations",
        lro.ListOperationsResponse(operations=[operation(done=5), SUCCEEDED]),
    )
    server.answer(f"{LRO}/GetOperation", operation(done=5))
    server.answer(f"{LRO}/CancelOperation", empty_pb2.Empty())
    server.on(WATCH, watching(operation(done=5), SUCCEEDED))
    listed = run("operations", "list").out
    assert "50%" in listed
    assert "100%" in listed
    assert len(json.loads(run("operations", "list", "--limit", "1", "--json").out)) == 1
    assert "50%" in run("operations", "show", "1").out
    assert json.loads(run("operations", "show", NAME, "--json").out)["state"] == "running"
    assert run("operations", "cancel", "1").code == 0
    assert run("operations", "watch", "1").code == 0
    watched = run("operations", "watch", "1", "--json").out.splitlines()
    assert [json.loads(line)["state"] for line in watched] == ["running", "succeeded"]
    names = {getattr(r, "name", "") for r in server.requests if not hasattr(r, "filter")}
    assert names == {NAME}


def test_import_and_download(server: FakeServer, run: Any, tmp_path: Path) -> None:
    from client.test_transfers import FILES, Version, contents

    answer = models.ImportModelResponse()
    answer.model_version.name = "models/m/versions/1"
    answer.skipped_files.add(path="x.bin", reason="a pickle")
    server.answer(f"{MODELS}/ImportModel", operation())
    server.on(WATCH, watching(operation(response=answer)))
    ran = run("models", "import", "m", "--hub", "a/b@main")
    assert "models/m/versions/1" in ran.out
    assert "left out x.bin: a pickle" in ran.err
    Version(server)
    assert run("models", "download", "m", str(tmp_path / "d")).code == 0
    assert contents(tmp_path / "d") == FILES
    assert run("models", "download", "m", str(tmp_path / "d"), "--json").code == 4


def test_serve_hands_everything_to_the_server(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import types

    seen: list[list[str]] = []
    fake = types.ModuleType("stillroom_server.app")
    fake.main = lambda arguments: seen.append(arguments) or 7  # type: ignore[attr-defined, func-returns-value]
    monkeypatch.setitem(sys.modules, "stillroom_server.app", fake)
    arguments = ["--address", "127.0.0.1:0", "--help", "--json", "--target", "x"]
    assert run("serve", *arguments).code == 7
    assert seen == [arguments]
    monkeypatch.setitem(sys.modules, "stillroom_server.app", None)
    ran = run("serve")
    assert ran.code == exits.FAILURE
    assert "pip install 'stillroom[server]'" in ran.err


def test_it_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "stillroom", "version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == "stillroom 0.1.0\n"
