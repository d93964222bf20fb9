"""From a source to a corpus on disk, in one pass and in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from stillroom_registry.errors import InvalidArgument
from stillroom_registry.storage import storage_errors
from stillroom_server.distillation.context import Context
from stillroom_server.distillation.corpus import record
from stillroom_server.distillation.corpus.cleaning import clean
from stillroom_server.distillation.corpus.dataset import Dataset
from stillroom_server.distillation.corpus.duplicates import SeenDigests, digests
from stillroom_server.distillation.corpus.formats import MAX_SOURCE_BYTES, Reader, too_large
from stillroom_server.distillation.corpus.holdout import HeldOut, scores
from stillroom_server.distillation.corpus.opening import open_allowed, open_own
from stillroom_server.distillation.corpus.options import CorpusOptions
from stillroom_server.distillation.corpus.records import one_line
from stillroom_server.distillation.corpus.shards import Corpus, ShardWriter
from stillroom_server.distillation.corpus.source import (
    DatasetSource,
    InlineSource,
    PathSource,
    UploadSource,
    parse_source,
)
from stillroom_server.hub.access import HubAccess
from stillroom_server.security.paths import AllowedRoots

PHASE = "corpus"
# Distinct ones; telling so many apart takes 400 MB (see SeenDigests).
MAX_TEXTS = 20_000_000
_INLINE_AT_ONCE = 512
_NOWHERE = AllowedRoots(())


def ingest(
    source: object,
    folder: Path,
    options: CorpusOptions,
    context: Context,
    *,
    hub: HubAccess | None = None,
    roots: AllowedRoots = _NOWHERE,
) -> Corpus:
    """The corpus of ``source`` (JSON, see ``parse_source``) in ``folder``, which is this corpus's
    own. A finished one there is opened again, whatever has become of its source.

    The same bytes of the source, options and seed give the same shards, however they are read and
    however often it was tried. ``roots`` are the folders that a path may lie in, ``hub`` how the
    Hub is reached. Reports the phase ``corpus`` in bytes of the source.

    Raises what ``parse_source``, ``Reader.read``, ``open_allowed``, ``open_own`` and ``Dataset``
    raise; InvalidArgument (CORPUS_EMPTY), ResourceExhausted (CORPUS_TOO_LARGE, DISK_FULL).
    """
    asked = record.identity(source, options)
    done = record.load(folder, asked, context.check_cancelled)
    if done is None:
        with storage_errors():
            folder.mkdir(parents=True, exist_ok=True)
            record.clear(folder)
            reading = _Reading(folder, context, hub or HubAccess(), roots)
            done = _Building(folder, options).build(reading.lines(source), reading.origin)
        record.save(folder, asked, done, context.check_cancelled)
        reading.forget()
    size = int(done.facts["bytes"])
    context.progress(PHASE, size, size, unit="bytes", message=f"{done.facts['texts']:,} texts")
    return done


class _Reading:
    """Reads the lines of any source and tells how far it is."""

    def __init__(self, folder: Path, context: Context, hub: HubAccess, roots: AllowedRoots) -> None:
        self._folder = folder
        self._context = context
        self._hub = hub
        self._roots = roots
        self.origin: dict[str, Any] = {}
        self.forget: Callable[[], None] = lambda: None

    def lines(self, given: object) -> Iterator[list[str]]:
        match parse_source(given):
            case InlineSource(texts):
                self.origin.update(inline=len(texts))
                yield from self._inline(texts)
            case PathSource(path):
                self.origin.update(path=path)
                with open_allowed(self._roots, path, "corpus.path") as stream:
                    yield from self._file(stream, path, "corpus.path")
            case UploadSource(upload, file):
                self.origin.update(upload=upload)
                with open_own(file, "corpus.upload") as stream:
                    yield from self._file(stream, "", "corpus.upload")
            case DatasetSource() as source:
                dataset = Dataset(source, self._folder / "download", self._hub)
                self.forget = dataset.forget
                yield from dataset.lines(self._told)
                self.origin.update(dataset.origin)

    def _inline(self, texts: tuple[str, ...]) -> Iterator[list[str]]:
        for start in range(0, len(texts), _INLINE_AT_ONCE):
            part = [one_line(text) for text in texts[start : start + _INLINE_AT_ONCE]]
            yield part
            self._told(start + len(part), len(texts))

    def _file(self, stream: Any, name: str, field: str) -> Iterator[list[str]]:
        size = stream.seek(0, 2)
        stream.seek(0)
        if size > MAX_SOURCE_BYTES:
            raise too_large(f"more than {MAX_SOURCE_BYTES:,} bytes", field)
        reader = Reader(None, field, lambda done: self._told(done, size))
        yield from reader.read(stream, name, size)

    def _told(self, done: int, total: int) -> None:
        self._context.check_cancelled()
        self._context.progress(PHASE, min(done, total), total, unit="bytes")


class _Building:
    """Cleans, drops duplicates, chooses what to hold out, writes shards."""

    def __init__(self, folder: Path, options: CorpusOptions) -> None:
        self._seed = options.seed
        self._training = ShardWriter(folder, "training")
        self._held_out = ShardWriter(folder, "held-out")
        self._chooser = HeldOut(options.held_out)
        self._seen = SeenDigests()

    def build(self, batches: Iterator[list[str]], origin: dict[str, Any]) -> Corpus:
        lines = blank = duplicates = cut = 0
        for batch in batches:
            cleaned = clean(batch)
            lines += len(batch)
            blank += cleaned.blank
            kept, cut_here = self._add(cleaned.texts, cleaned.long)
            cut += cut_here
            duplicates += len(cleaned.texts) - kept
        if len(self._seen) == 0:
            raise InvalidArgument(
                "the corpus holds no text: every line is blank, or there is none",
                reason="CORPUS_EMPTY",
                field="corpus",
            )
        rest, held_out = self._chooser.finish()
        self._training.add(rest)
        self._held_out.add(held_out)
        parts = self._training.finish(), self._held_out.finish()
        digest = record.corpus_digest(*parts)
        facts = {
            "lines": lines,
            "texts": len(self._seen),
            "blank": blank,
            "duplicates": duplicates,
            "cut": cut,
            "held_out": len(held_out),
            "bytes": self._training.bytes + self._held_out.bytes,
            "digest": digest,
            "source": origin,
        }
        return Corpus(*parts, digest, facts)

    def _add(self, texts: list[bytes], long: list[bool]) -> tuple[int, int]:
        """How many of ``texts`` were new, and how many of these were cut."""
        keys = digests(texts)
        new = self._seen.add(keys).tolist()
        if len(self._seen) > MAX_TEXTS:
            raise too_large(f"more than {MAX_TEXTS:,} different texts", "corpus")
        ranked = scores(keys, self._seed).tolist()
        chosen = [
            self._chooser.offer(text, score)
            for text, score, is_new in zip(texts, ranked, new, strict=True)
            if is_new
        ]
        self._training.add(text for text in chosen if text is not None)
        return sum(new), sum(a and b for a, b in zip(new, long, strict=True))
