"""The server's certificate, checked before gRPC sees it: gRPC's own complaint comes at the first
handshake, in a log that nobody reads."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import grpc

from stillroom_registry.errors import FailedPrecondition, InvalidArgument
from stillroom_server.security.certificates import Validity, validities

CERTIFICATE, KEY, CLIENT_CA = "tls_certificate", "tls_key", "tls_client_ca"

# OpenSSL's words. It keeps one certificate for each type of key: the last one stands for a key of
# another type than the certificate's.
_MISMATCHES = {"KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED"}


def _utc_now() -> datetime:
    return datetime.now(UTC)


def server_credentials(
    certificate: Path,
    key: Path,
    client_ca: Path | None,
    *,
    clock: Callable[[], datetime] = _utc_now,
) -> grpc.ServerCredentials:
    """Credentials from PEM files: the certificate with its chain, its key, and, when clients must
    show a certificate themselves, the authorities that may have signed it.

    Raises FailedPrecondition (TLS_FILE_UNREADABLE; CERTIFICATE_EXPIRED, CERTIFICATE_NOT_YET_VALID)
    and InvalidArgument (INVALID_CERTIFICATE, INVALID_KEY, KEY_ENCRYPTED, KEY_MISMATCH), each with
    the setting at fault as ``field``.
    """
    chain, private_key = _read(certificate, CERTIFICATE), _read(key, KEY)
    authorities = None if client_ca is None else _read(client_ca, CLIENT_CA)
    now = clock()
    for one in _validities(chain, certificate, CERTIFICATE):
        _require_current(one, now, certificate, CERTIFICATE)
    _require_match(certificate, key, private_key)
    if client_ca is not None and authorities is not None:
        _require_authorities(client_ca, authorities, now)
    return grpc.ssl_server_credentials(
        [(private_key, chain)],
        root_certificates=authorities,
        require_client_auth=authorities is not None,
    )


def _read(path: Path, setting: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise FailedPrecondition(
            f"The file of {setting}, {path}, cannot be read ({error.strerror}); check the path and "
            "that the server's user may read it.",
            reason="TLS_FILE_UNREADABLE",
            field=setting,
        ) from error


def _validities(pem: bytes, path: Path, setting: str) -> list[Validity]:
    try:
        found = validities(pem)
    except ValueError as error:
        raise _invalid_certificate(path, setting, str(error)) from error
    if not found:
        raise _invalid_certificate(path, setting, "there is no 'BEGIN CERTIFICATE' in it")
    return found


def _require_current(validity: Validity, now: datetime, path: Path, setting: str) -> None:
    if now > validity.not_after:
        raise FailedPrecondition(
            f"A certificate in {path} ({setting}) expired at {validity.not_after.isoformat()}; "
            "renew it.",
            reason="CERTIFICATE_EXPIRED",
            field=setting,
        )
    if now < validity.not_before:
        raise FailedPrecondition(
            f"A certificate in {path} ({setting}) is valid only from "
            f"{validity.not_before.isoformat()}; check this machine's clock.",
            reason="CERTIFICATE_NOT_YET_VALID",
            field=setting,
        )


def _require_match(certificate: Path, key: Path, private_key: bytes) -> None:
    if b"PRIVATE KEY-----" not in private_key:
        raise InvalidArgument(
            f"{key} ({KEY}) holds no private key in PEM form.", reason="INVALID_KEY", field=KEY
        )
    asked = False

    def no_password() -> str:
        # Without this, OpenSSL asks for it on the terminal and the server hangs.
        nonlocal asked
        asked = True
        return ""

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, no_password)
    except (ssl.SSLError, OSError, ValueError) as error:
        if asked:
            raise InvalidArgument(
                f"{key} ({KEY}) is encrypted and there is nobody to ask for its password; pass a "
                "key without one, readable by the server's user alone.",
                reason="KEY_ENCRYPTED",
                field=KEY,
            ) from error
        cause = getattr(error, "reason", None) or str(error)
        if cause in _MISMATCHES:
            raise InvalidArgument(
                f"{key} ({KEY}) is not the key of the first certificate in {certificate} "
                f"({CERTIFICATE}); the server's own certificate must come before its chain.",
                reason="KEY_MISMATCH",
                field=KEY,
            ) from error
        if _loads_alone(certificate):
            raise InvalidArgument(
                f"{key} ({KEY}) cannot be used: {cause}.", reason="INVALID_KEY", field=KEY
            ) from error
        raise _invalid_certificate(certificate, CERTIFICATE, cause) from error


def _loads_alone(certificate: Path) -> bool:
    """Whether OpenSSL can read the certificates, so that a failure must be the key's."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(certificate)
    except (ssl.SSLError, OSError):
        return False
    return True


def _require_authorities(path: Path, pem: bytes, now: datetime) -> None:
    found = _validities(pem, path, CLIENT_CA)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(path)
    except (ssl.SSLError, OSError) as error:
        cause = getattr(error, "reason", None) or str(error)
        raise _invalid_certificate(path, CLIENT_CA, cause) from error
    # A bundle may keep old authorities beside the current one.
    if not any(one.not_before <= now <= one.not_after for one in found):
        _require_current(found[0], now, path, CLIENT_CA)


def _invalid_certificate(path: Path, setting: str, what: str) -> InvalidArgument:
    return InvalidArgument(
        f"{path} ({setting}) is no usable PEM certificate: {what}.",
        reason="INVALID_CERTIFICATE",
        field=setting,
    )
