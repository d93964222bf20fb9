"""A version of one server that came to another."""

from __future__ import annotations

from dataclasses import dataclass

from stillroom.v1 import model_pb2


@dataclass(frozen=True)
class Copied:
    """How a copy ended.

    source     the version that was copied
    version    the version that holds it now, on the other server
    was_there  whether that server had a version of this model already: nothing was sent
    left_out   files that the other server did not take, with its reasons
    changed    files that it has with other bytes, such as stillroom.json, which imports write anew
    anew       whether the other server, of an older release, only imported the files: metadata and
               report stayed behind. Else nothing is left out or changed
    """

    source: model_pb2.ModelVersion
    version: model_pb2.ModelVersion
    was_there: bool
    left_out: tuple[tuple[str, str], ...] = ()
    changed: tuple[str, ...] = ()
    anew: bool = False

    @property
    def identical(self) -> bool:
        """Whether both hold the same files."""
        return self.source.digest == self.version.digest
