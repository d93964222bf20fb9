"""From texts and labels as they come to examples that are sound, and their digest."""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from stillroom_server.classification.data.limits import MAX_LABEL_BYTES, DataLimits
from stillroom_server.classification.data.refusal import Refusal, listed, shown, too_large

_SURROGATE = re.compile(r"[\ud800-\udfff]")


@dataclass(frozen=True)
class Examples:
    """Texts and the labels of each, in order. ``digest`` is ``sha256:<hex>`` of them, the same
    however they were brought; the order of one example's labels does not count."""

    texts: list[str]
    labels: list[tuple[str, ...]]
    digest: str

    def __len__(self) -> int:
        return len(self.texts)


class Collector:
    """Takes examples one by one, refusing what is not sound."""

    def __init__(self, limits: DataLimits, field: str, *, multi_label: bool) -> None:
        self._limits = limits
        self._field = field
        self._multi_label = multi_label
        self._texts: list[str] = []
        self._labels: list[tuple[str, ...]] = []
        self._names: set[str] = set()
        self._known: dict[tuple[str, ...], tuple[tuple[str, ...], bytes]] = {}
        self._digest = hashlib.sha256()

    def __len__(self) -> int:
        return len(self._texts)

    def add(self, text: str, labels: Sequence[str], refuse: Refusal, number: int) -> None:
        """Adds an example, which ``refuse`` calls ``number``. Half a surrogate pair in a text,
        which JSON can spell and UTF-8 cannot, becomes U+FFFD.

        Raises InvalidArgument: LABEL_MISSING, LABEL_SHAPE (several labels where one is wanted),
        LABEL_REPEATED, LABEL_TOO_LONG, TOO_MANY_LABELS, TEXT_TOO_LONG, ENCODING of a label;
        ResourceExhausted (DATA_TOO_LARGE).
        """
        try:
            data = text.encode("utf-8")
        except UnicodeEncodeError:
            text = _SURROGATE.sub("\ufffd", text)
            data = text.encode("utf-8")
        if len(data) > self._limits.max_text_bytes:
            refuse(
                f"the text has {len(data):,} bytes; at most {self._limits.max_text_bytes:,} are "
                "taken",
                "TEXT_TOO_LONG",
                number,
            )
        if len(self._texts) == self._limits.max_examples:
            raise too_large(f"{self._limits.max_examples:,} examples", self._field)
        key = tuple(labels)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = key, self._checked(key, refuse, number)
        self._texts.append(text)
        self._labels.append(known[0])
        self._digest.update(struct.pack("<Q", len(data)) + data + known[1])

    def finish(self, refuse: Refusal) -> Examples:
        """Raises InvalidArgument (NO_DATA)."""
        if not self._texts:
            refuse("there is no example in the data", "NO_DATA")
        return Examples(self._texts, self._labels, f"sha256:{self._digest.hexdigest()}")

    def _checked(self, labels: tuple[str, ...], refuse: Refusal, number: int) -> bytes:
        """``labels`` as bytes for the digest."""
        if not self._multi_label and len(labels) != 1:
            if not labels:
                refuse("the label is missing", "LABEL_MISSING", number)
            refuse(
                f"{len(labels)} labels ({listed(labels)}) where each text has one; is the "
                "classifier to be multi-label?",
                "LABEL_SHAPE",
                number,
            )
        if len(set(labels)) != len(labels):
            refuse(f"a label is given twice: {listed(labels)}", "LABEL_REPEATED", number)
        encoded = sorted(self._encoded(label, refuse, number) for label in labels)
        self._names.update(labels)
        if len(self._names) > self._limits.max_labels:
            refuse(
                f"more than {self._limits.max_labels:,} different labels; is this the right "
                "column?",
                "TOO_MANY_LABELS",
                number,
            )
        sizes = struct.pack(f"<{len(encoded) + 1}I", len(encoded), *map(len, encoded))
        return sizes + b"".join(encoded)

    def _encoded(self, label: str, refuse: Refusal, number: int) -> bytes:
        if not label.strip():
            what = "a label is blank" if self._multi_label else "the label is missing"
            refuse(what, "LABEL_MISSING", number)
        try:
            data = label.encode("utf-8")
        except UnicodeEncodeError:
            refuse("the label holds half a surrogate pair", "ENCODING", number)
        if len(data) > MAX_LABEL_BYTES:
            refuse(
                f"the label {shown(label)} has {len(data):,} bytes; at most {MAX_LABEL_BYTES} are "
                "taken; is this the right column?",
                "LABEL_TOO_LONG",
                number,
            )
        return data
