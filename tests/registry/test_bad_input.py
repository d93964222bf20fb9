"""What a publish refuses, with the field at fault, and that nothing is written then."""

from __future__ import annotations

import os
import pickle
import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stillroom_registry.errors import FailedPrecondition, InvalidArgument, StillroomError
from stillroom_registry.names import ModelRef, check_alias_name, check_model_name
from stillroom_registry.registry import ModelKind, Registry
from stillroom_registry.safe_files import SourceFolder, check_path, open_folder, unsafe_content

STUDENT = ModelKind.STUDENT
BAD_NAMES = [
    "",
    ".",
    "..",
    "a/b",
    "a\\b",
    "-a",
    "a-",
    ".hidden",
    "A",
    "a b",
    "a\n",
    "a\x00",
    "\u0430bc",
    "\uff41",
    "caf\u00e9",
    "\u0661",
    "a" * 129,
    "a" * 10_000,
    "\ud800",
    "a@b@c",
]
REFUSED_REFS = ["m@", "m@0", "m@01", "m@-1", "m@A", "m@1x", "@1", "m@" + "9" * 30, "m@\u0663"]
REFUSED_PATHS = ["models/", "models/m/", "models/m/versions/", "models/m/versions/x", "models//m"]


def nothing_was_written(registry: Registry) -> bool:
    return not registry.list_models().items and not list(registry.blobs.digests())


@pytest.mark.parametrize("name", BAD_NAMES)
def test_bad_model_names(name: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check_model_name(name, "name")
    assert (caught.value.field, caught.value.reason) == ("name", "BAD_MODEL_NAME")
    assert len(caught.value.message) < 400
    assert caught.value.message.isascii()


@pytest.mark.parametrize("text", [*BAD_NAMES, *REFUSED_REFS, *REFUSED_PATHS, "models/m@1"])
def test_bad_references(text: str) -> None:
    with pytest.raises(InvalidArgument):
        ModelRef.parse(text)


@pytest.mark.parametrize("alias", ["", "1", "3a", "-a", "A", "a_b", "a.b", "a" * 64, "\u0430"])
def test_bad_aliases(alias: str) -> None:
    with pytest.raises(InvalidArgument):
        check_alias_name(alias)


NAMES = st.from_regex(r"[a-z0-9]([a-z0-9._-]{0,126}[a-z0-9])?", fullmatch=True)
ALIASES = st.from_regex(r"[a-z][a-z0-9-]{0,62}", fullmatch=True)


@settings(max_examples=50, deadline=None)
@given(NAMES, st.one_of(st.none(), ALIASES, st.integers(1, 10**17)))
def test_every_good_reference_reads_back(name: str, target: str | int | None) -> None:
    version = target if isinstance(target, int) else None
    alias = target if isinstance(target, str) else None
    ref = ModelRef(name, version, alias)
    assert ModelRef.parse(str(ref)) == ref
    assert ModelRef.parse(name if target is None else f"{name}@{target}") == ref


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=40))
def test_any_text_is_a_reference_or_a_bad_argument(text: str) -> None:
    try:
        ref = ModelRef.parse(text)
    except InvalidArgument:
        return
    assert ModelRef.parse(str(ref)) == ref


@pytest.mark.parametrize(
    ("given_", "field"),
    [
        ({"model": "A"}, "model"),
        ({"kind": "poem"}, "kind"),
        ({"metadata": {"a": float("nan")}}, "metadata"),
        ({"metadata": {"a": object()}}, "metadata"),
        ({"metadata": {"a": "x" * (1 << 20)}}, "metadata"),
        ({"labels": {"": "x"}}, "labels"),
        ({"labels": {"a": "x" * 257}}, "labels"),
        ({"labels": {str(n): "x" for n in range(65)}}, "labels"),
        ({"description": "x" * 10_001}, "description"),
        ({"description": "\ud800"}, "description"),
        ({"parents": ["t"]}, "parents"),
        ({"parents": ["t@1"]}, "parents"),
        ({"parents": ["models/t/aliases/x"]}, "parents"),
        ({"parents": ["models/t/versions/1"]}, "parents"),
    ],
)
def test_bad_fields(
    registry: Registry, make_folder: Any, given_: dict[str, Any], field: str
) -> None:
    call: dict[str, Any] = {"model": "m", "kind": STUDENT, "folder": make_folder(n=b"1")} | given_
    with pytest.raises(StillroomError) as caught:
        registry.publish(**call)
    assert caught.value.field == field
    assert nothing_was_written(registry)


def refused(registry: Registry, folder: Path, reason: str = "UNSAFE_FILE") -> str:
    with pytest.raises(InvalidArgument) as caught:
        registry.publish("m", STUDENT, folder)
    assert caught.value.reason == reason
    assert nothing_was_written(registry)
    return caught.value.message


@pytest.mark.parametrize(
    "name",
    ["pytorch_model.bin", "a.pt", "a.PTH", "a.pkl", "a.pickle", "a.joblib", "x/y.ckpt", "a.h5"],
)
def test_formats_that_run_code_are_refused(registry: Registry, make_folder: Any, name: str) -> None:
    message = refused(registry, make_folder({"config.json": b"{}", name: b"x"}))
    assert "safetensors" in message


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_a_renamed_pickle_is_refused(registry: Registry, make_folder: Any, protocol: int) -> None:
    refused(registry, make_folder({"weights.dat": pickle.dumps({"a": [1]}, protocol)}))


def test_a_renamed_torch_archive_is_refused(registry: Registry, make_folder: Any) -> None:
    refused(registry, make_folder({"w.dat": b"PK\x03\x04" + bytes(26) + b"archive/data.pkl"}))


def test_a_safetensors_header_is_not_taken_for_a_pickle() -> None:
    head = (640).to_bytes(8, "little") + b'{"embeddings":'
    assert head.startswith(b"\x80\x02")
    assert not unsafe_content("model.safetensors", head)
    assert not unsafe_content("model.other", head)


def test_links_are_refused(registry: Registry, make_folder: Any, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "x").write_text("secret")
    for target in (secret, tmp_path / "elsewhere", tmp_path / "absent"):
        folder = make_folder(n=b"1")
        (folder / "link").symlink_to(target)
        assert "symbolic link" in refused(registry, folder)


def test_devices_pipes_and_sockets_are_refused(registry: Registry, make_folder: Any) -> None:
    folder = make_folder(n=b"1")
    os.mkfifo(folder / "pipe")
    refused(registry, folder)
    folder = make_folder(n=b"1")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(folder / "s"))
        refused(registry, folder)


@pytest.mark.parametrize("swapped", ["a", "d"])
def test_a_file_swapped_for_a_link_after_the_check_is_not_followed(
    make_folder: Any, tmp_path: Path, swapped: str
) -> None:
    outside = make_folder({"a": b"secret", "b": b"secret"})
    folder = make_folder({"a": b"1", "d/b": b"2"})
    with open_folder(folder) as source:
        paths = [file.path for file in source.files()]
        (folder / swapped).rename(tmp_path / "old")
        (folder / swapped).symlink_to(outside / "a" if swapped == "a" else outside)
        with pytest.raises(FailedPrecondition) as caught:
            read_all(source, paths)
    assert caught.value.reason == "FILE_UNREADABLE"


def read_all(source: SourceFolder, paths: list[str]) -> list[bytes]:
    contents = []
    for path in paths:
        with source.open(path) as stream:
            contents.append(stream.read())
    return contents


def test_odd_names_are_refused(registry: Registry, make_folder: Any) -> None:
    for name in (b"a\nb", b"a\x1b[31m", b"\xff\xfe", b"a\\b"):
        folder = make_folder(n=b"1")
        (Path(os.fsdecode(os.fsencode(folder) + b"/" + name))).write_bytes(b"x")
        assert refused(registry, folder).isprintable()


@pytest.mark.parametrize(
    "path",
    [
        *["", "/etc/passwd", "../a", "a/../b", "a//b", "a/", "./a", "a\\b", "a\x00", "a\nb"],
        *["x" * 2000, "/".join("a" * 20)],
    ],
)
def test_paths_from_elsewhere(path: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check_path(path, "manifest")
    assert caught.value.field == "manifest"


def test_folders_that_are_no_models(registry: Registry, make_folder: Any, tmp_path: Path) -> None:
    refused(registry, make_folder(), "NO_FILES")
    refused(registry, tmp_path / "absent", "NOT_A_FOLDER")
    file = tmp_path / "file"
    file.write_text("x")
    refused(registry, file, "NOT_A_FOLDER")
    deep = make_folder({"/".join(["d"] * 18) + "/n": b"1"})
    refused(registry, deep)


BY_NAME: dict[str, Any] = {
    "get": lambda registry, name: registry.get_model(name),
    "update": lambda registry, name: registry.update_model(name, description="x"),
    "versions": lambda registry, name: registry.list_versions(name),
    "version": lambda registry, name: registry.get_version(name, 1),
    "resolve": lambda registry, name: registry.resolve(name),
    "lineage": lambda registry, name: registry.lineage(name),
    "set alias": lambda registry, name: registry.set_alias(name, "production", 1),
    "roll back": lambda registry, name: registry.roll_back_alias(name, "production"),
    "delete alias": lambda registry, name: registry.delete_alias(name, "production"),
    "aliases": lambda registry, name: registry.list_aliases(name),
    "events": lambda registry, name: registry.list_alias_events(name),
    "delete version": lambda registry, name: registry.delete_version(name, 1, force=True),
    "delete": lambda registry, name: registry.delete_model(name, force=True),
}


@pytest.mark.parametrize("call", BY_NAME)
def test_every_method_refuses_bad_names(registry: Registry, make_folder: Any, call: str) -> None:
    registry.publish("a", STUDENT, make_folder(n=b"1"))
    registry.set_alias("a", "production", 1)
    before = registry.get_model("a")
    for name in BAD_NAMES:
        with pytest.raises(InvalidArgument) as caught:
            BY_NAME[call](registry, name)
        assert caught.value.field == "model"
        assert len(caught.value.message) < 400
    assert registry.get_model("a") == before
