"""Downloads a model from the Hugging Face Hub, file by file, each checked against the Hub's digest.

The endpoint and the token come from the settings, never from a request.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stillroom_registry.errors import DataLoss, StillroomError
from stillroom_registry.safe_files import check_path
from stillroom_server.distillation.export.manifest import MANIFEST
from stillroom_server.hub.access import HubAccess
from stillroom_server.hub.failures import translated
from stillroom_server.hub.integrity import ListedFile, verify
from stillroom_server.hub.meter import meter
from stillroom_server.imports.selection import ONNX_FILES, Budget, SkippedFile, skip_reason

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoSibling

_EXPORTED_HERE = "exported anew here"
_FIELD = "source.hub"
_TRIES = 3  # of a file that arrives damaged
OnBytes = Callable[[int, int], None]


@dataclass(frozen=True)
class HubSnapshot:
    """``commit`` is the full commit that the revision named."""

    commit: str
    skipped: list[SkippedFile]


def download(
    repo: str,
    revision: str | None,
    destination: Path,
    budget: Budget,
    *,
    access: HubAccess,
    keep: Path,
    on_bytes: OnBytes,
    on_fetched: Callable[[int], None] = lambda _: None,
) -> HubSnapshot:
    """Brings the wanted files of ``repo`` at ``revision`` (None: the default branch) into
    ``destination``, an empty folder.

    Files lie in ``keep`` first, a folder on the same disk that outlasts the call: what an earlier
    call brought there whole is not fetched again. ``on_bytes`` is told the bytes done and in all;
    it may raise to stop. ``on_fetched`` is told the bytes of each file that was not there.

    Raises InvalidArgument (IMPORT_TOO_LARGE, UNSAFE_FILE), what ``translated`` lists, DataLoss
    (HUB_FILE_CORRUPT) for a file that comes damaged time and again.
    """
    api = access.api(repo)
    try:
        info = api.model_info(repo, revision=revision, files_metadata=True)
        wanted, skipped = _select(info.siblings or [], budget)
        commit = str(info.sha)
        files = keep / commit
        total, done = sum(file.size or 0 for file in wanted), 0
        for file in wanted:
            on_bytes(done, total)
            listed = ListedFile.of(file)
            if not _is_whole(files / listed.path, listed):
                _fetch(api, repo, commit, listed, files, _from(on_bytes, done, total))
                on_fetched(listed.size or 0)
            done += listed.size or 0
        on_bytes(done, total)
    except StillroomError:
        raise
    except Exception as error:
        raise translated(error, repo, revision, kind="model", field=_FIELD) from error
    for file in wanted:
        _place(files / file.rfilename, destination / file.rfilename)
    return HubSnapshot(commit, skipped)


def _fetch(
    api: Any, repo: str, commit: str, file: ListedFile, folder: Path, told: Callable[[int], None]
) -> None:
    """One file into ``folder``, checked; again if it arrives damaged."""
    for left in reversed(range(_TRIES)):
        arrived = 0

        def on_chunk(count: int) -> None:
            nonlocal arrived
            arrived += count
            if file.size is not None and arrived > file.size:
                raise _damaged(file)
            told(arrived)

        try:
            path = api.hf_hub_download(
                repo,
                file.path,
                revision=commit,
                local_dir=folder,
                # A copy that the machine's own cache has may be the damaged one.
                force_download=left < _TRIES - 1,
                tqdm_class=meter(on_chunk),
            )
            verify(Path(path), file, _FIELD)
            return
        except DataLoss:
            if not left:
                raise


def _is_whole(path: Path, file: ListedFile) -> bool:
    """Whether an earlier call brought the file; what it brought in part is removed."""
    if path.is_symlink() or not path.is_file():
        return False
    if file.size is not None and path.stat().st_size != file.size:
        path.unlink()
        return False
    try:
        verify(path, file, _FIELD)
    except DataLoss:
        return False
    return True


def _place(source: Path, target: Path) -> None:
    """Weights by another name, the rest as a copy: an import rewrites some files in place, and ONNX
    runtimes refuse files that have two names."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.suffix == ".safetensors":
        target.hardlink_to(source)
    else:
        shutil.copyfile(source, target)


def _from(on_bytes: OnBytes, start: int, total: int) -> Callable[[int], None]:
    return lambda count: on_bytes(start + count, total)


def _damaged(file: ListedFile) -> DataLoss:
    return DataLoss(
        f"{file.path} arrived damaged from the Hub; try again",
        reason="HUB_FILE_CORRUPT",
        field=_FIELD,
        metadata={"file": file.path[:200]},
    )


def _select(
    siblings: list[RepoSibling], budget: Budget
) -> tuple[list[RepoSibling], list[SkippedFile]]:
    # What was made here has a graph that its manifest vouches for, and may be nothing without it.
    ours = any(file.rfilename == MANIFEST for file in siblings)
    wanted, skipped = [], []
    for file in sorted(siblings, key=lambda sibling: sibling.rfilename):
        name = file.rfilename
        budget.add_file()
        exported = name in ONNX_FILES and not ours
        reason = _EXPORTED_HERE if exported else skip_reason(name)
        if reason:
            skipped.append(SkippedFile(name, reason))
            continue
        check_path(name, _FIELD)
        budget.add_bytes(file.size or 0)
        wanted.append(file)
    return wanted, skipped
