"""Corpora: from texts, a file, an upload or a dataset of the Hub to shards on disk.

``ingest`` makes a ``Corpus`` of what ``check_source`` accepts. Texts stream through ``formats``
(lines or records), ``cleaning``, ``duplicates`` and ``holdout`` into ``shards``; ``record`` marks
them as finished. Light: what Parquet and the Hub need is imported when it is used.
"""

from stillroom_server.distillation.corpus.ingest import PHASE, ingest
from stillroom_server.distillation.corpus.options import CorpusOptions
from stillroom_server.distillation.corpus.shards import SHARD_TEXTS, Corpus, Shard
from stillroom_server.distillation.corpus.source import check_source

__all__ = ["PHASE", "SHARD_TEXTS", "Corpus", "CorpusOptions", "Shard", "check_source", "ingest"]
