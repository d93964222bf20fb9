"""Downloads a model from the Hugging Face Hub, file by file, each checked against the Hub's digest.

The endpoint and the token come from the settings, never from a request. huggingface_hub accepts a
download of the right size with the wrong bytes, so every file is hashed here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stillroom_registry.errors import (
    DataLoss,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    StillroomError,
    Unavailable,
)
from stillroom_registry.safe_files import check_path
from stillroom_server.imports.selection import ONNX_FILES, Budget, SkippedFile, skip_reason

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoSibling

_EXPORTED_HERE = "exported anew here"
_RETRY = 30.0  # seconds


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
    from huggingface_hub import HfApi

    api = HfApi(endpoint=endpoint, token=token or False, library_name="stillroom")
    try:
        info = api.model_info(repo, revision=revision, files_metadata=True)
        wanted, skipped = _select(info.siblings or [], budget)
        total, done = sum(file.size or 0 for file in wanted), 0
        for file in wanted:
            on_bytes(done, total)
            path = api.hf_hub_download(
                repo, file.rfilename, revision=info.sha, local_dir=destination
            )
            _verify(Path(path), file)
            done += file.size or 0
        on_bytes(done, total)
    except Exception as error:
        raise _translated(error, repo, revision) from error
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
        check_path(name, "source.hub")
        budget.add_bytes(file.size or 0)
        wanted.append(file)
    return wanted, skipped


def _verify(path: Path, file: RepoSibling) -> None:
    """Against the sha256 of a large file, or git's own digest of a small one."""
    with path.open("rb") as stream:
        if file.lfs is not None:
            same = hashlib.file_digest(stream, "sha256").hexdigest() == file.lfs.sha256
        elif file.blob_id is not None:
            size = path.stat().st_size
            digest = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
            while chunk := stream.read(1 << 20):
                digest.update(chunk)
            same = digest.hexdigest() == file.blob_id
        else:
            same = file.size is None or path.stat().st_size == file.size
    if not same:
        path.unlink()
        raise DataLoss(
            f"{file.rfilename} arrived damaged from the Hub; import again",
            reason="HUB_FILE_CORRUPT",
            field="source.hub",
            metadata={"file": file.rfilename[:200]},
        )


def _translated(error: Exception, repo: str, revision: str | None) -> Exception:
    """Foreign messages hold addresses and request ids, so none of their text is passed on."""
    from huggingface_hub import errors
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    if isinstance(error, StillroomError):
        return error
    facts: dict[str, Any] = {"field": "source.hub", "metadata": {"repo": repo[:200]}}
    if isinstance(error, HFValidationError):
        return InvalidArgument(
            f"{repo[:200]!r} is no repository of the Hub; write owner/name",
            reason="BAD_REPO",
            **facts,
        )
    if isinstance(error, errors.GatedRepoError):
        return PermissionDenied(
            f"{repo} is gated: its owner must grant access to the account of this server's token, "
            "and the operator must allow the token for it (hub_allow)",
            reason="HUB_REPO_GATED",
            **facts,
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return NotFound(
            f"the Hub has no model {repo}, or it is private and this server's token may not be "
            "used for it (hub_allow)",
            reason="HUB_REPO_NOT_FOUND",
            **facts,
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return NotFound(
            f"{repo} has no revision {str(revision)[:100]!r}; name a branch, tag or full commit",
            reason="HUB_REVISION_NOT_FOUND",
            **facts,
        )
    if isinstance(error, HfHubHTTPError) and error.response.status_code in (401, 403):
        return PermissionDenied(
            f"the Hub denies access to {repo}", reason="HUB_ACCESS_DENIED", **facts
        )
    if isinstance(error, _connection_errors()):
        return Unavailable(
            "the Hub cannot be reached from the server, or does not answer; try again later",
            reason="HUB_UNAVAILABLE",
            retry_after=_RETRY,
            **facts,
        )
    return error


def _connection_errors() -> tuple[type[Exception], ...]:
    import httpx2
    from huggingface_hub import errors

    return (
        httpx2.HTTPError,
        errors.HfHubHTTPError,
        errors.OfflineModeIsEnabled,
        errors.LocalEntryNotFoundError,
        errors.FileMetadataError,
        ConnectionError,
        TimeoutError,
    )
