"""What a request may leave out that is only to be estimated."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Draft:
    """``name``: of the model that would be made. ``data``: they are described instead, and need not
    be there yet."""

    name: bool = False
    data: bool = False


COMPLETE = Draft()
"""Nothing is left out."""
DESCRIBED = {"described": True}
"""In place of data that are not there yet, in the JSON of a request that is only estimated."""
