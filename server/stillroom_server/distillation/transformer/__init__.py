"""TRANSFORMER: a shallow student with some of its teacher's layers, trained on a corpus.

    from stillroom_server.distillation.transformer.options import TransformerOptions  # no torch
    from stillroom_server.distillation.transformer.recipe import PHASES, distill_transformer

    distill_transformer(
        teacher_folder: Path,
        output_folder: Path,                # the student, ready to register; empty or absent
        corpus: Corpus, features: Features, # shards of texts, and the teacher's vectors of them
        checkpoints: Checkpoints,
        options: TransformerOptions | None = None,
        context: Context | None = None,
        *,
        name="", teacher_name="", description="", lineage=None,  # for the card and stillroom.json
        prompt_name=None,                   # the one the features were made with
        threads=None,                       # () -> int; None: torch.get_num_threads() of the caller
        verify=True,                        # False: no ONNX file
        clock=time.monotonic,               # read for time_budget_seconds and for figures alone
    ) -> dict                               # the facts, a JSON object

Phases: "prepare" (batches), "train" (steps), "write" (files), "verify" (runs).

``check_options(teacher_folder, options)`` of ``shape`` refuses what does not fit the teacher, from
its JSON files alone. ``store_student(folder, output, element_type, ...)`` of ``restoring`` gives a
finished student another element type.
"""
