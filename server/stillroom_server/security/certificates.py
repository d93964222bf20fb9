"""When a certificate is valid, read from its DER without a library for the rest of X.509.

The layout is that of RFC 5280, section 4.1: a certificate begins with tbsCertificate, whose fields
are an optional version, serial number, signature algorithm, issuer and then validity.
"""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime

_PEM = re.compile(
    r"-----BEGIN CERTIFICATE-----\s.*?-----END CERTIFICATE-----", re.ASCII | re.DOTALL
)
_SEQUENCE, _INTEGER, _VERSION, _UTC_TIME, _GENERALIZED_TIME = 0x30, 0x02, 0xA0, 0x17, 0x18


@dataclass(frozen=True)
class Validity:
    """Both ends belong to it; aware, in UTC."""

    not_before: datetime
    not_after: datetime


def validities(pem: bytes) -> list[Validity]:
    """The validity of every certificate in a PEM file, in its order. ValueError when one cannot be
    read."""
    text = pem.decode("ascii", errors="replace")
    return [validity(ssl.PEM_cert_to_DER_cert(block)) for block in _PEM.findall(text)]


def validity(der: bytes) -> Validity:
    """The validity of one certificate. ValueError when it cannot be read."""
    certificate = _Reader(der).enter(_SEQUENCE)
    fields = certificate.enter(_SEQUENCE)
    if fields.peek() == _VERSION:
        fields.take(_VERSION)
    fields.take(_INTEGER)
    fields.take(_SEQUENCE)
    fields.take(_SEQUENCE)
    times = fields.enter(_SEQUENCE)
    return Validity(_time(*times.next()), _time(*times.next()))


class _Reader:
    """Reads one tag, length and value after another."""

    def __init__(self, content: bytes) -> None:
        self._rest = content

    def peek(self) -> int:
        if not self._rest:
            raise ValueError("the certificate ends early")
        return self._rest[0]

    def next(self) -> tuple[int, bytes]:
        tag = self.peek()
        length, start = self._length()
        value = self._rest[start : start + length]
        if len(value) < length:
            raise ValueError("the certificate ends early")
        self._rest = self._rest[start + length :]
        return tag, value

    def take(self, expected: int) -> bytes:
        tag, value = self.next()
        if tag != expected:
            raise ValueError(f"tag {tag:#04x} where {expected:#04x} belongs")
        return value

    def enter(self, expected: int) -> _Reader:
        return _Reader(self.take(expected))

    def _length(self) -> tuple[int, int]:
        """The length of the value, and where it starts."""
        if len(self._rest) < 2:
            raise ValueError("the certificate ends early")
        first = self._rest[1]
        if first < 0x80:
            return first, 2
        octets = first & 0x7F
        if not 1 <= octets <= 4:
            raise ValueError("a length that DER does not allow")
        return int.from_bytes(self._rest[2 : 2 + octets], "big"), 2 + octets


def _time(tag: int, value: bytes) -> datetime:
    text = value.decode("ascii")
    if tag == _UTC_TIME:
        # Two digits of the year: RFC 5280 counts 50 to 99 to the twentieth century.
        text = ("19" if text[:2] >= "50" else "20") + text
    elif tag != _GENERALIZED_TIME:
        raise ValueError(f"tag {tag:#04x} where a time belongs")
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
