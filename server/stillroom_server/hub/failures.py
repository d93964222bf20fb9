"""What went wrong with the Hub, as errors of ours."""

from __future__ import annotations

from typing import Any

from stillroom_registry.errors import (
    InvalidArgument,
    NotFound,
    PermissionDenied,
    StillroomError,
    Unavailable,
)

_RETRY = 30.0  # seconds


def translated(
    error: Exception, repo: str, revision: str | None, *, kind: str, field: str
) -> Exception:
    """The error to raise for ``error``, which came of asking for ``repo``, a ``kind`` (model,
    dataset): InvalidArgument (BAD_REPO), NotFound (HUB_REPO_NOT_FOUND, HUB_REVISION_NOT_FOUND),
    PermissionDenied (HUB_REPO_GATED, HUB_ACCESS_DENIED), Unavailable (HUB_UNAVAILABLE); itself if
    it is none of the Hub's.

    Foreign messages hold addresses and request ids, so none of their text is passed on.
    """
    from huggingface_hub import errors
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    if isinstance(error, StillroomError):
        return error
    facts: dict[str, Any] = {"field": field, "metadata": {"repo": repo[:200]}}
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
            f"the Hub has no {kind} {repo}, or it is private and this server's token may not be "
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
