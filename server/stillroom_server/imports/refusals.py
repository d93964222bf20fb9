"""The refusals that more than one reader of folders makes."""

from __future__ import annotations

from stillroom_registry.errors import FailedPrecondition


def pickle_refused() -> FailedPrecondition:
    return FailedPrecondition(
        "the weights are there only as a pickle, which can run code when it is read; convert them "
        "to safetensors (save_pretrained of transformers writes it) and import again",
        reason="PICKLE_REFUSED",
        field="source",
    )


def no_fast_tokenizer() -> FailedPrecondition:
    return FailedPrecondition(
        "there is no tokenizer.json, so no fast tokenizer; make one with "
        'AutoTokenizer.from_pretrained("folder").save_pretrained("folder") of transformers and '
        "import again",
        reason="NO_FAST_TOKENIZER",
        field="source",
    )
