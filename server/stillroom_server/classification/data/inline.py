"""Examples that the request itself brings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from stillroom_server.classification.data.collecting import Collector
from stillroom_server.classification.data.refusal import InlineRefusal

_AT_ONCE = 1024


def add_examples(
    examples: Sequence[Any],
    collector: Collector,
    field: str,
    told: Callable[[int], None] = lambda _: None,
) -> None:
    """Adds ``examples``, ``[text, [label, ...]]`` each; ``told`` gets how many are done.

    Raises InvalidArgument on ``{field}.examples.values[i]``: ROW_SHAPE, and what ``Collector.add``
    raises.
    """
    refuse = InlineRefusal(field)
    for number, example in enumerate(examples):
        if not _is_example(example):
            refuse("it is not a text with a list of labels", "ROW_SHAPE", number)
        collector.add(example[0], example[1], refuse, number)
        if number % _AT_ONCE == 0:
            told(number)
    told(len(examples))


def _is_example(value: Any) -> bool:
    if not isinstance(value, list | tuple) or len(value) != 2:
        return False
    text, labels = value
    if not isinstance(text, str) or not isinstance(labels, list | tuple):
        return False
    return all(isinstance(label, str) for label in labels)
