"""The one place where an error becomes a gRPC status.

Every status carries an ErrorInfo (domain ``stillroom``); one with a known field a BadRequest, and
whatever has ``retry_after`` a RetryInfo; an error that is ``Detailed`` what it brings. The inverse
is ``stillroom.errors`` in the client.
"""

from __future__ import annotations

import logging

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import DecodeError, Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

from stillroom_registry import errors, storage

DOMAIN = "stillroom"
DETAILS_KEY = "grpc-status-details-bin"
# A status travels in HTTP/2 trailers, which peers limit to about 8 KiB: the message as
# grpc-message, and in the details, once in base64 by itself and once as a field's violation.
_MAX_MESSAGE = 1536
_MAX_METADATA = 384
_MAX_ENCODED = 12  # bytes of one character, percent-encoded
_DEFAULT_RETRY_SECONDS = 1.0

_log = logging.getLogger(__name__)

CODES: dict[type[errors.StillroomError], grpc.StatusCode] = {
    errors.InvalidArgument: grpc.StatusCode.INVALID_ARGUMENT,
    errors.OutOfRange: grpc.StatusCode.OUT_OF_RANGE,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    errors.FailedPrecondition: grpc.StatusCode.FAILED_PRECONDITION,
    errors.Aborted: grpc.StatusCode.ABORTED,
    errors.ResourceExhausted: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.Unavailable: grpc.StatusCode.UNAVAILABLE,
    errors.PermissionDenied: grpc.StatusCode.PERMISSION_DENIED,
    errors.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    errors.Cancelled: grpc.StatusCode.CANCELLED,
    errors.DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.DataLoss: grpc.StatusCode.DATA_LOSS,
    errors.Unimplemented: grpc.StatusCode.UNIMPLEMENTED,
    errors.Internal: grpc.StatusCode.INTERNAL,
}


class Detailed(errors.StillroomError):
    """An error with a message of the protocol among its details. Trailers must stay small: the
    message has at most about 4 KiB."""

    detail: Message


def code_of(error: errors.StillroomError) -> grpc.StatusCode:
    """The status code of the nearest class of ``error`` that has one."""
    for ancestor in type(error).__mro__:
        if ancestor in CODES:
            return CODES[ancestor]
    return grpc.StatusCode.INTERNAL


def to_domain(error: BaseException) -> errors.StillroomError:
    """``error`` as a domain error. What nobody foresaw is logged and answered without its text,
    which may hold paths or secrets."""
    if isinstance(error, errors.StillroomError):
        return error
    if isinstance(error, DecodeError):
        return errors.InvalidArgument(
            "the message is not valid protobuf of this type, or a string in it is not UTF-8",
            reason="MALFORMED_MESSAGE",
        )
    if (told := storage.translate(error)) is not None:
        return told
    _log.error("unforeseen error", exc_info=error)
    return errors.Internal(
        f"the server failed on this request ({type(error).__name__}); its log says more",
        reason="INTERNAL",
    )


def to_status(error: BaseException) -> status_pb2.Status:
    """``error`` as a google.rpc.Status with its details."""
    domain = to_domain(error)
    metadata = {key: _cut(value, _MAX_METADATA) for key, value in domain.metadata.items()}
    details: list[any_pb2.Any] = []
    _pack(
        details,
        error_details_pb2.ErrorInfo(reason=domain.reason, domain=DOMAIN, metadata=metadata),
    )
    if isinstance(domain, Detailed):
        _pack(details, domain.detail)
    code = code_of(domain)
    message = _cut(domain.message, _MAX_MESSAGE)
    if domain.field is not None:
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=domain.field, description=message, reason=domain.reason
        )
        _pack(details, error_details_pb2.BadRequest(field_violations=[violation]))
    retry_after = domain.retry_after
    if retry_after is None and code is grpc.StatusCode.UNAVAILABLE:
        retry_after = _DEFAULT_RETRY_SECONDS
    if retry_after is not None:
        delay = duration_pb2.Duration()
        delay.FromNanoseconds(int(retry_after * 1e9))
        _pack(details, error_details_pb2.RetryInfo(retry_delay=delay))
    return status_pb2.Status(code=code.value[0], message=message, details=details)


_BY_NUMBER = {code.value[0]: code for code in grpc.StatusCode}


def status_code(status: status_pb2.Status) -> grpc.StatusCode:
    """The gRPC code of ``status``."""
    return _BY_NUMBER[status.code]


def trailers(status: status_pb2.Status) -> tuple[tuple[str, str | bytes], ...]:
    """Trailing metadata that carries ``status``, with retry pushback where waiting helps."""
    pairs: list[tuple[str, str | bytes]] = [(DETAILS_KEY, status.SerializeToString())]
    retry = error_details_pb2.RetryInfo()
    for detail in status.details:
        if status.code == code_pb2.RESOURCE_EXHAUSTED and detail.Unpack(retry):
            milliseconds = retry.retry_delay.ToMilliseconds()
            pairs.append(("grpc-retry-pushback-ms", str(milliseconds)))
    return tuple(pairs)


def _pack(details: list[any_pb2.Any], message: Message) -> None:
    packed = any_pb2.Any()
    packed.Pack(message)
    details.append(packed)


def _cut(text: str, limit: int) -> str:
    """``text`` if it takes at most ``limit`` bytes where it is percent-encoded, else its start."""
    if len(text) <= limit // _MAX_ENCODED or (len(text) <= limit and _is_plain(text)):
        return text
    size = len("…".encode()) * 3
    for end, character in enumerate(text):
        size += 1 if _is_plain(character) else 3 * len(character.encode())
        if size > limit:
            return f"{text[:end]}…"
    return text


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable() and "%" not in text
