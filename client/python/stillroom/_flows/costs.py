"""What work would take, and how right that was of work that has run."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from datetime import UTC, datetime
from typing import Any

from google.protobuf.message import Message

from stillroom._core import Core
from stillroom._protocol import enums, rpcs
from stillroom._protocol.messages import build, from_mapping
from stillroom.costs import Devices, Estimated
from stillroom.errors import InvalidArgument
from stillroom.v1 import common_pb2
from stillroom.v1 import cost_service_pb2 as pb

Recommend = bool | Mapping[str, Any] | pb.RecommendationOptions
_PAGE = 1000
_KINDS = {
    field.message_type.full_name: field.name
    for field in pb.Workload.DESCRIPTOR.oneofs_by_name["kind"].fields
    if field.message_type is not None
}


async def estimate_cost(
    core: Core,
    work: Message,
    *,
    data: Mapping[str, float] | pb.DataStatistics | None = None,
    environment: Mapping[str, Any] | pb.CostEnvironment | None = None,
    calibration: str | None = None,
    recommend: Recommend | None = None,
) -> Estimated:
    """What ``work`` would take: time, memory, energy, money, each with a range; starts nothing.

    ``work`` is what ``distill_request`` or ``train_request`` answer, or a function of
    ``stillroom.workloads``: embed, serve, push, pull, paradigm. ``data`` says what the data are
    like where they are not there yet: a dict of texts, tokens_per_text, total_bytes and labels.
    ``environment`` is a dict of the fields of CostEnvironment, such as device, region,
    price_usd_per_hour, pue; unset ones are the server's. ``calibration`` is "when_needed",
    "never" or "refresh": the first estimate on a host measures it, for up to 3 seconds.

    ``recommend`` True, or a dict of budget (a dict of seconds, memory_bytes, result_bytes,
    money_usd), minimum_quality, maximum_latency_seconds, objective ("money", "seconds", "energy",
    "quality", "result_size", "latency") and max_candidates, also ranks the ways to do this work
    that its request leaves open.

    Raises InvalidArgument (``field`` names what is wrong, within ``workload.`` as the work's own
    call would), NotFound (a model, an upload, a device, a region), FailedPrecondition (the model is
    not of a kind that can do it).
    """
    request = build(
        pb.EstimateCostRequest,
        workload=_workload(work),
        data=from_mapping(pb.DataStatistics, data, "data"),
        environment=from_mapping(pb.CostEnvironment, environment, "environment"),
        calibration=enums.number(pb.CalibrationPolicy, calibration, "calibration"),
        recommend=_recommend(recommend),
    )
    return Estimated.of(await core.call(rpcs.ESTIMATE_COST, request))


async def list_devices(core: Core) -> Devices:
    """Devices that can be estimated for, the server's host first, each figure with its source and
    date; the regions with their carbon intensity; and what estimates use unless told otherwise."""
    request = pb.ListDevicesRequest(page_size=_PAGE)
    pages = [page async for page in core.pages(rpcs.LIST_DEVICES, request)]
    devices = tuple(device for page in pages for device in page.devices)
    return Devices(devices, tuple(pages[0].regions), pages[0].defaults)


async def estimate_accuracy(
    core: Core,
    *,
    kind: str | None = None,
    since: datetime | None = None,
    operation: str | None = None,
) -> list[pb.EstimateAccuracy]:
    """How right estimates were of work that has run: one entry a kind and figure. ``kind`` is such
    as "distill", ``since`` a moment with a time zone, ``operation`` one operation's name. NotFound
    when that has not ended."""
    request = _accuracy_request(kind, since, operation)
    return list((await core.call(rpcs.GET_ESTIMATE_ACCURACY, request)).accuracies)


async def estimate_ledger(
    core: Core,
    *,
    kind: str | None = None,
    since: datetime | None = None,
    operation: str | None = None,
    page_size: int | None = None,
) -> AsyncGenerator[pb.LedgerEntry, None]:
    """Yields work that has run with what was estimated and what it took, newest first, page after
    page; the arguments are those of ``estimate_accuracy``."""
    request = _accuracy_request(kind, since, operation)
    request.page_size = 100 if page_size is None else page_size
    async for page in core.pages(rpcs.GET_ESTIMATE_ACCURACY, request):
        for entry in page.entries:
            yield entry


def _accuracy_request(
    kind: str | None, since: datetime | None, operation: str | None
) -> pb.GetEstimateAccuracyRequest:
    request = build(pb.GetEstimateAccuracyRequest, kind=kind, operation=operation)
    if since is not None:
        if since.tzinfo is None:
            raise InvalidArgument("since has no time zone", field="since")
        request.start_time.FromDatetime(since.astimezone(UTC).replace(tzinfo=None))
    return request


def _workload(work: Message) -> pb.Workload:
    if isinstance(work, pb.Workload):
        return work
    kind = _KINDS.get(work.DESCRIPTOR.full_name) if isinstance(work, Message) else None
    if kind is None:
        raise InvalidArgument(
            f"work is {type(work).__name__}; give what distill_request or train_request answer, or"
            " what the functions of stillroom.workloads do",
            reason="BAD_TYPE",
            field="work",
        )
    return build(pb.Workload, **{kind: work})


def _recommend(given: Recommend | None) -> pb.RecommendationOptions | None:
    if given is None or given is False:
        return None
    if given is True:
        return pb.RecommendationOptions()
    if isinstance(given, pb.RecommendationOptions):
        return given
    options = dict(given)
    if isinstance(options.get("objective"), str):
        options["objective"] = enums.number(
            pb.RecommendationObjective, options["objective"], "objective"
        )
    if "budget" in options:
        options["budget"] = from_mapping(common_pb2.Budget, options["budget"], "budget")
    return from_mapping(pb.RecommendationOptions, options, "recommend")
