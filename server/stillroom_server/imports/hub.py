"""Downloads a model from the Hugging Face Hub, file by file, each checked against the Hub's digest.

The endpoint and the token come from the settings, never from a request.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stillroom_registry.safe_files import check_path
from stillroom_server.hub.access import HubAccess
from stillroom_server.hub.failures import translated
from stillroom_server.hub.integrity import ListedFile, verify
from stillroom_server.imports.selection import ONNX_FILES, Budget, SkippedFile, skip_reason

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoSibling

_EXPORTED_HERE = "exported anew here"
_FIELD = "source.hub"


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
    endpoint: str | None,
    token: str | None,
    on_bytes: Callable[[int, int], None],
) -> HubSnapshot:
    """Downloads the wanted files of ``repo`` at ``revision`` (None: the default branch).

    ``on_bytes`` is told the bytes done and in all, after every file; it may raise to stop. Raises
    InvalidArgument (BAD_REPO, IMPORT_TOO_LARGE), NotFound (HUB_REPO_NOT_FOUND,
    HUB_REVISION_NOT_FOUND), PermissionDenied (HUB_REPO_GATED, HUB_ACCESS_DENIED), Unavailable
    (HUB_UNAVAILABLE), DataLoss (HUB_FILE_CORRUPT).
    """
    api = HubAccess(endpoint, lambda _: token).api(repo)
    try:
        info = api.model_info(repo, revision=revision, files_metadata=True)
        wanted, skipped = _select(info.siblings or [], budget)
        total, done = sum(file.size or 0 for file in wanted), 0
        for file in wanted:
            on_bytes(done, total)
            path = api.hf_hub_download(
                repo, file.rfilename, revision=info.sha, local_dir=destination
            )
            verify(Path(path), ListedFile.of(file), _FIELD)
            done += file.size or 0
        on_bytes(done, total)
    except Exception as error:
        raise translated(error, repo, revision, kind="model", field=_FIELD) from error
    return HubSnapshot(str(info.sha), skipped)


def _select(
    siblings: list[RepoSibling], budget: Budget
) -> tuple[list[RepoSibling], list[SkippedFile]]:
    wanted, skipped = [], []
    for file in sorted(siblings, key=lambda sibling: sibling.rfilename):
        name = file.rfilename
        budget.add_file()
        reason = _EXPORTED_HERE if name in ONNX_FILES else skip_reason(name)
        if reason:
            skipped.append(SkippedFile(name, reason))
            continue
        check_path(name, _FIELD)
        budget.add_bytes(file.size or 0)
        wanted.append(file)
    return wanted, skipped
