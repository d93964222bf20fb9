"""Ways to do some work, and which of them keeps the limits and costs least. No I/O.

``candidates`` varies what a workload leaves open; whoever asks estimates each; ``rank`` compares.
"""

from __future__ import annotations

from stillroom_server.cost.recommend.candidates import candidates
from stillroom_server.cost.recommend.options import Options
from stillroom_server.cost.recommend.ranking import rank

__all__ = ["Options", "candidates", "rank"]
