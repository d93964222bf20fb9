"""STATIC_TUNED: a static student fitted to its teacher's sentence vectors of a corpus.

    from stillroom_server.distillation.tuning.options import TunedOptions  # needs no torch
    from stillroom_server.distillation.tuning.tune import PHASES, Tuned, tune

    tune(
        vocabulary: StudentVocabulary,      # the static student's, words asked for included
        encode_rows: () -> (V, h) float32,  # the teacher's vectors of its rows, not normalized;
                                            # called when the folder does not hold them yet
        corpus: Corpus, features: Features, # shards of texts, and the teacher's vectors of them
        options: TunedOptions,
        checkpoints: Checkpoints,
        context: Context,
        folder: Path,                       # durable scratch of this operation, kept on resume
        *,
        composed=0,                         # how many of the last training shards are composed
        clock=time.monotonic,               # seconds; read for time_budget_seconds alone
    ) -> Tuned                              # .table (V', d) float32, .tokenizer_json, .axes, .facts

``tune`` reports the phases "prepare" (words counted, texts tokenized), "fit" (pairs chosen, closed
form) and "train" (steps).
"""
