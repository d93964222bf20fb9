"""The fidelity report: how close a student is to its teacher, measured as it is served.

``measure.measure`` returns a JSON object with these keys, always all of them; None is "not
measured". Names are those of the protocol's FidelityReport where it has them. Cosines, correlations
and shares are plain numbers, not percent.

    text_source          "held_out": part of the corpus; "built_in" where there is no corpus, or one
                         that holds out fewer than ``measure.FEWEST_HELD_OUT`` texts
    texts                texts compared
    silent_texts         of these, texts whose student vector is zero, as it knows no token of them;
                         their cosine counts as 0
    cosine_basis         "teacher": the student's space is the teacher's, vectors compare as they
                         are; "aligned": the student's vectors are taken to the teacher's space by
                         the affine ridge map that fits other texts best (``alignment``); None: too
                         few texts to fit one, and the cosines are None
    alignment_texts      texts that the map was fitted to; 0 where it was cross-fitted: each tenth
                         of the texts by the map of the other nine
    mean_cosine          mean cosine to the teacher
    p5_cosine            its 5th percentile
    similarity_spearman  Spearman's correlation of pairwise similarities, student with teacher
    similarity_pairs     pairs in it
    recall_at_10         share of the teacher's ``recall_neighbors`` nearest texts among the
                         student's as many
    recall_neighbors     10; fewer where there are fewer than 21 texts
    prefixes             [{"dimensions", "similarity_spearman", "recall_at_10", "mean_cosine"}] of
                         the first so many dimensions, ascending, the whole vector last; only that
                         one has a cosine
    quantizations        [{"element_type", "mean_cosine", "bytes", "similarity_spearman",
                         "spearman_change"}]: mean cosine to the float32 student, bytes of the
                         weights, and the change of ``similarity_spearman`` (below 0: a loss)
    scores               [{"name", "kind", "metric", "student", "teacher", "count"}] of the
                         request's evaluations: kind "similarity" with metric "spearman", kind
                         "labels" with metric "accuracy"
    distribution         what the figure draws: {"cosines": {"low", "high", "counts"},
                         "similarities": {"low", "high", "counts": rows of student bins, columns of
                         teacher bins}}
    measured_speed       clock-measured, so no file that must be reproducible may hold it:
                         {"student_tokens_per_second", "student_texts_per_second",
                         "teacher_tokens_per_second", "teacher_texts_per_second"}

A failed gate raises ``gate.FidelityTooLow``: ``.report`` is the whole report (a dict), and
``metadata["report"]`` the same without ``distribution``, as JSON text, so that the stored error of
the operation carries it.
"""
