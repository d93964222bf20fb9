"""Any work to its physics."""

from __future__ import annotations

from stillroom_server.cost.physical import distill, embed, paradigm, serve, train, transfer
from stillroom_server.cost.physical.built import Built
from stillroom_server.cost.physical.place import Place
from stillroom_server.cost.workloads import (
    DistillWork,
    EmbedWork,
    ImportWork,
    ParadigmWork,
    ServeWork,
    TrainWork,
    TransferWork,
    Work,
)


def build(work: Work, place: Place) -> Built:
    """Raises InvalidArgument for options that its model cannot meet, or counts whose products are
    too large."""
    match work:
        case DistillWork():
            return distill.build(work, place)
        case TrainWork():
            return train.build(work, place)
        case EmbedWork():
            return embed.build(work, place)
        case ServeWork():
            return serve.build(work, place)
        case TransferWork():
            return transfer.build(work, place)
        case ImportWork():
            return transfer.imported(place, work)
        case ParadigmWork():
            return paradigm.build(work, place)
