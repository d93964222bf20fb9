"""A corpus with the texts that are composed of it, as shards behind its own."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from stillroom_registry.storage import storage_errors
from stillroom_server.distillation.context import Context
from stillroom_server.distillation.corpus import record
from stillroom_server.distillation.corpus.shards import Corpus, ShardWriter, digest_of
from stillroom_server.distillation.tuning.compose import Composer, shares
from stillroom_server.distillation.tuning.work import surveyed
from stillroom_server.distillation.vocabulary import StudentVocabulary

_FORMAT = 2  # another number: other texts


def with_composed(
    corpus: Corpus, vocabulary: StudentVocabulary, seed: int, folder: Path, context: Context
) -> Corpus:
    """``corpus`` with more shards to train on; those it has keep their places.

    The others are in ``folder``, where a later attempt finds them. They follow from the arguments
    alone. Memory holds the texts of a shard, and those composed that do not fill one yet. Raises
    ResourceExhausted (DISK_FULL), DataLoss (CORPUS_DAMAGED), and what ``context`` raises.
    """
    what = json.dumps([_FORMAT, corpus.digest, vocabulary.tokenizer_json, seed])
    asked = digest_of(what.encode())
    tell = context.check_cancelled
    composed = record.load(folder, asked, tell)
    if composed is None:
        with storage_errors():
            folder.mkdir(parents=True, exist_ok=True)
            record.clear(folder)
        composed = _composed(corpus, Composer(vocabulary, seed), folder, context)
        record.save(folder, asked, composed, tell)
    if not composed.training:
        return corpus
    training = (*corpus.training, *composed.training)
    digest = record.corpus_digest(training, corpus.held_out)
    return replace(corpus, training=training, digest=digest)


def _composed(corpus: Corpus, composer: Composer, folder: Path, context: Context) -> Corpus:
    """The new texts alone."""
    tell = context.check_cancelled
    writer = ShardWriter(folder, "composed")
    if composer.words:
        chosen = surveyed(len(corpus.training))
        for index in chosen:
            composer.count(corpus.training[index].texts(), tell)
        wanted = shares([corpus.training[index].count for index in chosen])
        for index, most in zip(chosen, wanted, strict=True):
            texts = composer.compose(index, corpus.training[index].texts(), most, tell)
            writer.add(text.encode() for text in texts)
    shards = writer.finish()
    return Corpus(shards, (), record.corpus_digest(shards, ()), {})
