"""A rate of texts served for a time: machines, how busy they are, how long a request waits."""

from __future__ import annotations

import math
from collections.abc import Callable

from stillroom_server.cost.assumptions import Assumption, Omission, Source
from stillroom_server.cost.figures import Figure
from stillroom_server.cost.physical import embed, embedding
from stillroom_server.cost.physical.built import Built, Outcome, Serving
from stillroom_server.cost.physical.phase import Phase, counted
from stillroom_server.cost.physical.place import Place
from stillroom_server.cost.workloads import ServeWork

_BUSY_AT_MOST = 0.8  # of a machine at the highest rate: beyond, waiting grows without bound
_VARIED = 1.0  # half the sum of the squared coefficients of variation, of arrivals and service


def build(work: ServeWork, place: Place) -> Built:
    """As many machines like the place as the highest rate needs."""
    facts, size = work.model, float(work.texts_per_request)
    tokens = embed.limited_tokens(work.tokens_per_text.value, work.options)
    one = embedding.served(
        place,
        facts,
        size,
        tokens,
        size,
        element_type=embed.answered(work.options),
        dimensions=int(work.options.get("dimensions") or 0),
        stream=False,
    )
    on_device = one.device.p90 != 0.0
    # Seconds of a request on what there is least of: a core, or the accelerator.
    service = one.device if on_device else one.cpu
    servers = 1 if on_device else embedding.cores(place, facts)
    capacity = service.inverse(servers * size)  # texts a second
    average, peak = work.texts_per_second, work.peak.value
    replicas = capacity.inverse(peak / _BUSY_AT_MOST).mapped(lambda n: max(1.0, math.ceil(n)))
    share = _between(service, replicas, lambda s, n: min(1.0, average * s / (size * servers * n)))
    alone = one.wall(place.threads).scaled(place.contention)
    duration = work.duration.value
    texts = average * duration
    cpu = one.cpu.scaled(texts / size)
    waiting = counted(duration)
    phase = Phase(
        "serve",
        "texts",
        counted(texts),
        cpu,
        flops=one.flops.scaled(texts / size),
        traffic=one.traffic.scaled(texts / size),
        device=one.device.scaled(texts / size),
        memory=embed.resident(place, facts),
        limited_by="the accelerator" if on_device else "the cores",
    )
    return Built(
        title=f"{average:g} texts/s for {duration / 86_400:g} days",
        phases=(phase,),
        outcome=Outcome(
            embed.nothing("nothing is left behind"),
            embed.nothing(embed.NO_QUALITY),
            embedding.latency(place, facts, tokens),
            capacity,
        ),
        assumptions=(
            work.peak.assumed("peak_texts_per_second", "texts/s"),
            work.duration.assumed("duration_seconds", "s"),
            work.tokens_per_text.assumed("tokens_per_text", "tokens"),
            Assumption(
                "utilization_at_peak",
                f"{_BUSY_AT_MOST:.0%}",
                Source.DEFAULT,
                "of the cores at the highest rate, so that requests do not wait for long",
            ),
            Assumption("arrivals", "at random", Source.DEFAULT, "a Poisson process of requests"),
        ),
        omissions=(Omission("client", "callers, load balancing, and the network to them"),),
        serving=Serving(
            replicas=replicas,
            utilization=share,
            median_latency_seconds=_waited(alone, service, share, servers, 0.5),
            p99_latency_seconds=_waited(alone, service, share, servers, 0.99),
        ),
        machines=replicas,
        elapsed=waiting,
    )


def _between(service: Figure, replicas: Figure, share: Callable[[float, float], float]) -> Figure:
    """What of each percentile's machines is busy."""
    if not (service.known and replicas.known):
        return Figure.unknown(service.note or replicas.note)
    pairs = zip(service.numbers(), replicas.numbers(), strict=True)
    low, middle, high = sorted(share(seconds, count) for seconds, count in pairs)
    return Figure(low, middle, high, service.basis, service.note)


def _waited(
    alone: Figure, service: Figure, share: Figure, servers: int, percentile: float
) -> Figure:
    """Seconds of a request of which so many in a hundred take less.

    M/G/c: the mean wait by Sakasegawa (Annals of the Institute of Statistical Mathematics 1977),
    an exponential tail of those that wait (Kingman 1962).
    """
    if not (alone.known and service.known and share.known):
        return Figure.unknown(alone.note or service.note or share.note)
    rows = zip(alone.numbers(), service.numbers(), share.numbers(), strict=True)
    found = sorted(own + _wait(seconds, busy, servers, percentile) for own, seconds, busy in rows)
    return Figure(found[0], found[1], found[2], alone.basis, alone.note)


def _wait(service: float, busy: float, servers: int, percentile: float) -> float:
    busy = min(busy, 0.99)
    # Of requests, those that wait.
    waiting = math.pow(busy, math.sqrt(2.0 * (servers + 1)) - 1.0)
    mean = _VARIED * waiting * service / (servers * (1.0 - busy))
    if waiting <= 1.0 - percentile or mean <= 0.0:
        return 0.0
    return mean / waiting * math.log(waiting / (1.0 - percentile))
