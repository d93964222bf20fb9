"""What went wrong with the Hub, as errors of ours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from stillroom_registry.errors import (
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    StillroomError,
    Unavailable,
)

_RETRY = 30.0  # seconds
_LONGEST_RETRY = 3600.0
_BAD_TOKEN = "Invalid credentials in Authorization header"
_UNAVAILABLE = (408, 425, 500, 502, 503, 504)


def translated(
    error: Exception, repo: str, revision: str | None, *, kind: str, field: str
) -> Exception:
    """The error to raise for ``error``, which came of asking for ``repo``, a ``kind`` (model,
    dataset): InvalidArgument (BAD_REPO), NotFound (HUB_REPO_NOT_FOUND, HUB_REVISION_NOT_FOUND),
    PermissionDenied (HUB_REPO_GATED, HUB_ACCESS_DENIED, HUB_TOKEN_INVALID), FailedPrecondition
    (HUB_REFUSED), Unavailable (HUB_UNAVAILABLE, HUB_RATE_LIMITED); itself if it is none of the
    Hub's.

    Foreign messages hold addresses and request ids, so none of their text is passed on.
    """
    for cause in _chain(error):
        if isinstance(cause, StillroomError):
            return cause
        found = _translated(cause, repo, revision, kind, field)
        if found is not None:
            return found
    return error


def status_of(error: BaseException) -> int | None:
    """The HTTP status with which the Hub answered, if that is what the error is about."""
    from huggingface_hub.errors import HfHubHTTPError

    for cause in _chain(error):
        if isinstance(cause, HfHubHTTPError):
            return int(cause.response.status_code)
    return None


def _translated(
    error: BaseException, repo: str, revision: str | None, kind: str, field: str
) -> StillroomError | None:
    from huggingface_hub import errors
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

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
    if isinstance(error, HfHubHTTPError):
        return _of_status(error.response, repo, facts)
    if isinstance(error, _connection_errors()) or _cut_short(error):
        return Unavailable(
            "the Hub cannot be reached from the server, or does not answer; try again later",
            reason="HUB_UNAVAILABLE",
            retry_after=_RETRY,
            **facts,
        )
    return None


def _of_status(response: Any, repo: str, facts: dict[str, Any]) -> StillroomError:
    status = int(response.status_code)
    if status == 401 and response.headers.get("X-Error-Message") == _BAD_TOKEN:
        return PermissionDenied(
            "the Hub refuses this server's token: it has expired or was revoked; the operator must "
            "renew it",
            reason="HUB_TOKEN_INVALID",
            **facts,
        )
    if status in (401, 403):
        return PermissionDenied(
            f"the Hub denies access to {repo}", reason="HUB_ACCESS_DENIED", **facts
        )
    if status == 429:
        seconds = _retry_after(response)
        return Unavailable(
            f"the Hub answers no more of this server's requests for now; try again in {seconds:g} "
            "seconds",
            reason="HUB_RATE_LIMITED",
            retry_after=seconds,
            **facts,
        )
    if status in _UNAVAILABLE or status >= 500:
        return Unavailable(
            "the Hub cannot be reached from the server, or does not answer; try again later",
            reason="HUB_UNAVAILABLE",
            retry_after=_RETRY,
            **facts,
        )
    facts["metadata"]["status"] = str(status)
    return FailedPrecondition(
        f"the Hub refuses what was asked of {repo} (HTTP status {status})",
        reason="HUB_REFUSED",
        **facts,
    )


def _retry_after(response: Any) -> float:
    """Seconds, of the header that says so in numbers."""
    text = str(response.headers.get("Retry-After", "")).strip()
    return min(float(text), _LONGEST_RETRY) if text.isdecimal() else _RETRY


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, then what it was raised from: the library wraps what a thread of it met."""
    cause: BaseException | None = error
    for _ in range(8):
        if cause is None:
            return
        yield cause
        cause = cause.__cause__


def _cut_short(error: BaseException) -> bool:
    """A download that ended early is an OSError without a number."""
    return type(error) is OSError and error.errno is None


def _connection_errors() -> tuple[type[Exception], ...]:
    import httpx2
    from huggingface_hub import errors

    return (
        httpx2.HTTPError,
        errors.OfflineModeIsEnabled,
        errors.LocalEntryNotFoundError,
        errors.FileMetadataError,
        ConnectionError,
        TimeoutError,
    )
