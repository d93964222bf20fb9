"""Bearer tokens: a file that names who may ask, and the check of a caller against it.

The file has one line a caller, ``name token``; empty lines and lines that begin with ``#`` do not
count. An empty file denies everybody.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path

from stillroom_registry.errors import FailedPrecondition, InvalidArgument, Unauthenticated
from stillroom_server.security.secret import Secret

__all__ = ["MIN_TOKEN_LENGTH", "Secret", "TokenFile", "Tokens"]

MIN_TOKEN_LENGTH = 16
# A request costs a comparison with every token.
MAX_FILE_BYTES = 1 << 20

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,126}", re.ASCII)
# What can travel in a gRPC metadata value, without the space that ends a token.
_TOKEN = re.compile(r"[\x21-\x7e]+", re.ASCII)


@dataclass(frozen=True)
class Tokens:
    """Who may ask. Keeps digests, never the tokens. ``warnings`` are sentences for the operator."""

    digests: tuple[tuple[str, bytes], ...] = field(default=(), repr=False)
    warnings: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The callers, in the order of the file."""
        return tuple(name for name, _ in self.digests)

    def identify(self, authorization: str | bytes | None) -> str:
        """The name of the caller who sent this ``authorization`` header, ``Bearer {token}``.

        Compares with every token, however early one matches, so that the time tells nothing.
        Raises Unauthenticated: TOKEN_MISSING without a bearer token, TOKEN_UNKNOWN when it is
        nobody's.
        """
        header = _bytes(authorization)
        scheme, _, token = header.strip().partition(b" ")
        token = token.strip()
        if scheme.lower() != b"bearer" or not token:
            raise Unauthenticated(
                "This server asks for a token; send the metadata 'authorization: Bearer <token>'.",
                reason="TOKEN_MISSING",
            )
        digest = hashlib.sha256(token).digest()
        found = ""
        for name, known in self.digests:
            if hmac.compare_digest(digest, known):
                found = name
        if not found:
            raise Unauthenticated(
                "The token is not known here; ask the operator of this server for one.",
                reason="TOKEN_UNKNOWN",
            )
        return found


class TokenFile:
    """Reads token files."""

    @staticmethod
    def load(path: Path, *, setting: str = "token_file") -> Tokens:
        """The tokens in ``path``; ``setting`` is the field that errors name.

        Raises FailedPrecondition (TOKEN_FILE_UNREADABLE), InvalidArgument (INVALID_TOKEN_FILE) with
        the line at fault, never with a token.
        """
        try:
            with path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                content = file.read(MAX_FILE_BYTES + 1)
        except OSError as error:
            raise FailedPrecondition(
                f"The token file {path} cannot be read ({error.strerror}); check the path and "
                "that the server's user may read it.",
                reason="TOKEN_FILE_UNREADABLE",
                field=setting,
            ) from error
        if len(content) > MAX_FILE_BYTES:
            raise _invalid(path, setting, f"it has more than {MAX_FILE_BYTES} bytes")
        warnings = []
        if mode & (stat.S_IROTH | stat.S_IWOTH):
            warnings.append(
                f"Every user of this machine may read or write the token file {path}; run "
                f"'chmod 600 {path}'."
            )
        return Tokens(_parse(content, path, setting), tuple(warnings))


def _parse(content: bytes, path: Path, setting: str) -> tuple[tuple[str, bytes], ...]:
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        # Without the cause: it would carry the content into a log.
        raise _invalid(path, setting, "it is not UTF-8 text") from None
    digests: dict[str, bytes] = {}
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) != 2:
            raise _invalid(path, setting, f"line {number} is not a name, a space and a token")
        name, token = words
        if not _NAME.fullmatch(name):
            # Not echoed: with the two swapped, it is the token.
            raise _invalid(
                path,
                setting,
                f"the name on line {number} must be lower-case letters, digits, '.', '_' and '-', "
                "beginning with a letter or digit",
            )
        if name in digests:
            raise _invalid(path, setting, f"line {number} names {name} again")
        if len(token) < MIN_TOKEN_LENGTH or not _TOKEN.fullmatch(token):
            raise _invalid(
                path,
                setting,
                f"the token on line {number} must have at least {MIN_TOKEN_LENGTH} printable "
                "ASCII characters; 'openssl rand -hex 32' makes a good one",
            )
        digest = hashlib.sha256(token.encode()).digest()
        if digest in digests.values():
            raise _invalid(path, setting, f"line {number} repeats the token of another name")
        digests[name] = digest
    return tuple(digests.items())


def _bytes(header: str | bytes | None) -> bytes:
    if isinstance(header, str):
        return header.encode(errors="surrogatepass")
    return header or b""


def _invalid(path: Path, setting: str, what: str) -> InvalidArgument:
    return InvalidArgument(
        f"The token file {path} is not usable: {what}.", reason="INVALID_TOKEN_FILE", field=setting
    )
