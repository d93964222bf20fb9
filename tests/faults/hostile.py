"""Messages that no friend would send, made by the descriptor of their type.

Half of the values are right ones (``Known``), so that the rest of a message is read at all.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

INTEGERS = [0, 1, -1, 2, 63, 128, 1000, 2**31 - 1, -(2**31), 2**32 - 1, 2**53, 2**63 - 1, -(2**63)]
FLOATS = [0.0, -0.0, 0.5, 1.0, -1.0, 1e-300, 1e308, float("inf"), float("-inf"), float("nan")]
NASTY = [
    *("\0", "\n", "a\0b", "\x7f\x1b[2J", "\u202egnp.exe", "\ufeff", "\ud7ff\ue000", "\U0010ffff"),
    *("é" * 300, "😀" * 3000, "x" * 70_000, "(" * 5000, "(a*)*" * 200, "a{65535}" * 99),
    *("../../etc/passwd", "/etc/passwd", "/proc/self/mem", "file:///", "C:\\", "a//b", ".", ".."),
    *("'; DROP TABLE models; --", "%s%n", "{0}", "${jndi:x}", "<script>", "=1+1", "%00", "-1"),
    *("s@0", "s@-1", "s@999999999999999999", "s@9999999999999999999", "S", "s@@", "models/"),
    *("uploads/", "uploads/..", "uploads/" + "a" * 26, "operations/", "operations/" + "0" * 24),
    *("kind=distill", "state=running AND kind=import", "kind=", "state=x", "=" * 99, " AND " * 99),
    *("sha256:" + "0" * 64, "sha256:", "a/b", "a/..", "/", "[", "\\", "(?P<x>"),
]
LISTINGS = ["models ", "models student", "versions s", '["operations", null, null]']
LAST = ["s", "\ud800", "\0", "", 0, 1, -1, 2**62, 2**63, 10**30, -(10**30), 1.5, None, [], {}, True]
OTHER_TOKENS = [
    base64.b64encode(b"[" * 3000).decode(),
    base64.b64encode(b'["models ", ' + b"9" * 5000 + b"]").decode(),
    *("!", "====", "é", "W10"),
]
NAME_FIELDS = {"name", "model", "parent", "teacher", "upload", "texts"}
# Sizes beyond the message, or negative as int32 or int64; varints that do not end; no UTF-8.
TAILS = [
    *(b"", b"\0", b"\x01", b"\xff", b"\xff\xff\xff\xff\x0f", b"\xff" * 9 + b"\x01", b"\xff" * 11),
    *(b"\x80" * 30, b"\x02\xc3\x28", b"\x02\xff\xfe", b"\x7f", b"\0" * 8),
]
_OPEN_GROUP, _CLOSE_GROUP = b"\x0b", b"\x0c"  # of field 1
_HIGHEST_FIELD = b"\xf8\xff\xff\xff\x0f\x01"
_DEPTH = 3
_BITS = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64),
}


@dataclass(frozen=True)
class Known:
    """Names that the server has."""

    models: Sequence[str]
    uploads: Sequence[str]
    operations: Sequence[str]

    @property
    def all(self) -> list[str]:
        return [*self.models, *self.uploads, *self.operations]


def forged_token(listing: str, last: Any) -> str:
    """A page token of the right make around anything."""
    return base64.urlsafe_b64encode(json.dumps([listing, last]).encode()).decode().rstrip("=")


class Hostile:
    """Makes messages; the same ``random`` makes the same ones."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def encoded(self, descriptor: Descriptor, known: Known) -> bytes:
        """Bytes for a method that takes this type: valid ones, spoiled ones or plain junk."""
        kind = self._random.random()
        if kind < 0.15:
            return self.junk()
        data = self.message(descriptor, known).SerializeToString()
        return data if kind < 0.65 else self._spoiled(data)

    def message(self, descriptor: Descriptor, known: Known, depth: int = _DEPTH) -> Message:
        """A message of the type, of any content that its schema allows."""
        result = message_factory.GetMessageClass(descriptor)()
        share = self._random.random()
        for field in descriptor.fields:
            if self._random.random() < share:
                self._set(result, field, known, depth)
        return result

    def junk(self) -> bytes:
        """What no encoder would write."""
        choose = self._random
        match choose.randrange(8):
            case 0:
                return choose.randbytes(choose.randrange(40))
            case 1:
                return _nested(
                    choose.choice([0x0A, 0x12, 0x1A, 0x2A]), choose.choice([50, 101, 999])
                )
            case 2:
                return _OPEN_GROUP * choose.randrange(1, 5000)
            case 3:
                depth = choose.randrange(1, 5000)
                return _OPEN_GROUP * depth + _CLOSE_GROUP * depth
            case 4:  # a huge count of empty elements
                return bytes([choose.choice([0x0A, 0x12]), 0]) * 9000
            case 5:
                return _HIGHEST_FIELD
        wrong_type = choose.randrange(1, 16) << 3 | choose.randrange(8)
        return bytes([wrong_type]) + choose.choice(TAILS)

    def _spoiled(self, data: bytes) -> bytes:
        at = self._random.randrange(len(data) + 1)
        match self._random.randrange(4):
            case 0:
                return data[:at]
            case 1:
                return data[:at] + self.junk() + data[at:]
            case 2:
                junk = self.junk()
                return data[:at] + junk + data[at + len(junk) :]
        flipped = bytes([data[at - 1] ^ 1 << self._random.randrange(8)]) if data else b""
        return data[: max(at - 1, 0)] + flipped + data[at:]

    def _set(self, message: Any, field: FieldDescriptor, known: Known, depth: int) -> None:
        is_message = field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE
        target = getattr(message, field.name)
        if is_message and field.message_type.GetOptions().map_entry:
            key, value = field.message_type.fields
            for _ in range(self._random.randrange(4) if depth or not value.message_type else 0):
                if value.message_type:
                    made = self.message(value.message_type, known, depth - 1)
                    target[self._scalar(key, known)].CopyFrom(made)
                else:
                    target[self._scalar(key, known)] = self._scalar(value, known)
        elif is_message and depth:
            for _ in range(self._random.randrange(4) if field.is_repeated else 1):
                made = self.message(field.message_type, known, depth - 1)
                target.append(made) if field.is_repeated else target.CopyFrom(made)
        elif field.is_repeated and not is_message:
            target.extend(self._scalar(field, known) for _ in range(self._random.randrange(4)))
        elif not is_message:
            setattr(message, field.name, self._scalar(field, known))

    def _scalar(self, field: FieldDescriptor, known: Known) -> Any:
        choose = self._random
        match field.cpp_type:
            case FieldDescriptor.CPPTYPE_STRING if field.type == FieldDescriptor.TYPE_BYTES:
                return choose.choice([b"", b"\xff" * 3000, choose.randbytes(20)])
            case FieldDescriptor.CPPTYPE_STRING:
                return self._string(field, known)
            case FieldDescriptor.CPPTYPE_BOOL:
                return choose.random() < 0.5
            case FieldDescriptor.CPPTYPE_FLOAT | FieldDescriptor.CPPTYPE_DOUBLE:
                return choose.choice(FLOATS)
            case FieldDescriptor.CPPTYPE_ENUM:
                return choose.choice([0, 1, 2, 3, 4, 99, -1, 2**31 - 1, -(2**31)])
        low, high = _BITS[field.cpp_type]
        return min(max(choose.choice(INTEGERS), low), high - 1)

    def _string(self, field: FieldDescriptor, known: Known) -> str:
        choose = self._random
        if field.name == "page_token" and choose.random() < 0.8:
            if choose.random() < 0.2:
                return choose.choice(OTHER_TOKENS)
            return forged_token(choose.choice(LISTINGS), choose.choice(LAST))
        if choose.random() < 0.5:
            return choose.choice(known.all) if field.name in NAME_FIELDS else ""
        if choose.random() < 0.7:
            return choose.choice(NASTY)
        return choose.randbytes(choose.randrange(20)).decode("utf-16", errors="ignore")


def smaller(data: bytes, fails: Callable[[bytes], bool]) -> bytes:
    """``data`` without what its failing does not need."""
    size = len(data) // 2
    while size:
        start = 0
        while start < len(data):
            shorter = data[:start] + data[start + size :]
            if fails(shorter):
                data = shorter
            else:
                start += size
        size //= 2
    return data


def _nested(tag: int, depth: int) -> bytes:
    """A message in a message, and so on, as far as 16 KiB go."""
    data = b""
    for _ in range(depth):
        size, rest = bytearray(), len(data)
        while rest > 0x7F:
            size.append(rest & 0x7F | 0x80)
            rest >>= 7
        data = bytes([tag, *size, rest]) + data
    return data
