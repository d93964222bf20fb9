"""Options that every ``stillroom estimate`` command has, declared once."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stillroom.cli import distill_inputs
from stillroom.cli.session import Session

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from stillroom.client import Client

_WHERE = "Where, and at which prices"
_LIMITS = "Comparing"


def _where(text: str, **settings: Any) -> Any:
    return typer.Option(help=text, rich_help_panel=_WHERE, show_default=False, **settings)


def _limit(*names: str, text: str, **settings: Any) -> Any:
    return typer.Option(*names, help=text, rich_help_panel=_LIMITS, show_default=False, **settings)


ENVIRONMENT: dict[str, Any] = {
    "device": Annotated[
        str | None, _where("Of `stillroom estimate devices` (this host).", metavar="NAME")
    ],
    "price": Annotated[
        float | None, _where("US dollars an hour of the device.", metavar="DOLLARS")
    ],
    "electricity_price": Annotated[
        float | None, _where("US dollars a kilowatt-hour, on top.", metavar="DOLLARS")
    ],
    "pue": Annotated[float | None, _where("Energy of the site over that of its machines.")],
    "region": Annotated[
        str | None, _where("Where the electricity is from, such as FRA.", metavar="CODE")
    ],
    "carbon_intensity": Annotated[
        float | None, _where("Instead: grams of CO2e a kilowatt-hour.", metavar="GRAMS")
    ],
    "threads": Annotated[int | None, _where("Threads that the work may use.")],
    "contention": Annotated[
        float | None, _where("How many times slower other work makes it.", metavar="TIMES")
    ],
    "network": Annotated[float | None, _where("Bytes a second to the Hub.", metavar="BYTES")],
    "measure": Annotated[
        str | None, _where("Measuring the host: when-needed, never or refresh.", metavar="WHEN")
    ],
}
COMPARISON: dict[str, Any] = {
    "compare": Annotated[
        bool | None,
        _limit("--compare", text="Rank the ways that the request leaves open, with a plot."),
    ],
    "svg": Annotated[Path | None, _limit("--svg", text="Write the plot, too.", metavar="FILE")],
    "objective": Annotated[
        str | None,
        _limit(
            "--objective",
            text="Best is the least of money, seconds, energy, result-size or latency, or the most"
            " quality.",
            metavar="WHAT",
        ),
    ],
    "minimum_quality": Annotated[
        float | None, _limit("--minimum-quality", text="At least.", metavar="SHARE")
    ],
    "maximum_latency": Annotated[
        float | None,
        _limit("--maximum-latency", text="Of one text, at most.", metavar="SECONDS"),
    ],
    "max_candidates": Annotated[
        int | None, _limit("--max-candidates", text="Ranked at most (20).", metavar="COUNT")
    ],
}
BUDGET: dict[str, Any] = {
    "budget_seconds": Annotated[
        float | None, _limit("--budget-seconds", text="On the clock, at most.")
    ],
    "budget_memory_bytes": Annotated[
        int | None, _limit("--budget-memory-bytes", text="Peak memory, at most.")
    ],
    "budget_result_bytes": Annotated[
        int | None, _limit("--budget-result-bytes", text="Of the result, at most.")
    ],
    "budget_money": Annotated[
        float | None, _limit("--budget-money", text="US dollars, at most.", metavar="DOLLARS")
    ],
}
DATA: dict[str, Any] = {
    "texts": Annotated[
        int | None,
        typer.Option(help="So many texts, where the data are not there yet.", metavar="COUNT"),
    ],
    "tokens_per_text": Annotated[
        float | None, typer.Option(help="Tokens of a text on average.", metavar="COUNT")
    ],
    "total_bytes": Annotated[
        int | None, typer.Option(help="Bytes of all of the data.", metavar="BYTES")
    ],
}
_FIELDS = {
    "price": "price_usd_per_hour",
    "electricity_price": "electricity_usd_per_kwh",
    "carbon_intensity": "carbon_intensity_grams_per_kwh",
    "network": "network_bytes_per_second",
    "maximum_latency": "maximum_latency_seconds",
    "label_count": "labels",
}


class How:
    """What of the options of a command is about the estimate rather than the work. ``limits`` are
    those that ask for a comparison though nobody said ``--compare``."""

    def __init__(self, given: dict[str, Any], limits: Collection[str] = ()) -> None:
        self._given = {key: value for key, value in given.items() if value is not None}
        self.svg: Path | None = self._given.get("svg")
        self.compare = any(name in COMPARISON or name in limits for name in self._given)

    def arguments(self) -> dict[str, Any]:
        """Those of ``Client.estimate_cost``."""
        policy = self._given.get("measure")
        return {
            "data": self._some(("texts", "tokens_per_text", "total_bytes", "label_count")),
            "environment": self._some([key for key in ENVIRONMENT if key != "measure"]),
            "calibration": policy and policy.replace("-", "_"),
            "recommend": self._recommend() if self.compare else None,
        }

    def _some(self, names: Any) -> dict[str, Any] | None:
        return {
            _FIELDS.get(name, name): self._given[name] for name in names if name in self._given
        } or None

    def _recommend(self) -> dict[str, Any]:
        names = ("minimum_quality", "maximum_latency", "max_candidates", "objective")
        options = self._some(names) or {}
        if "objective" in options:
            options["objective"] = options["objective"].replace("-", "_")
        limits = distill_inputs.budget(self._given)
        return options | ({"budget": limits} if limits else {})


def estimating(
    function: Callable[..., Any], *, data: bool = False, more: dict[str, Any] | None = None
) -> Callable[..., None]:
    """A command out of ``function(**own)``, which answers the work to estimate, with the options
    of this module. ``data``: those about data, too. ``more``: annotations by name
    of further options of the function's, None unless given."""
    signature = inspect.signature(function, eval_str=True)
    own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    own += _optional(more or {})
    added = _optional({**(DATA if data else {}), **ENVIRONMENT, **COMPARISON, **BUDGET})

    def made(session: Session, **given: Any) -> None:
        mine = {p.name: given.pop(p.name) for p in own}
        work = function(**mine)
        with session.client() as client:
            report(session, client, work, How(given, limits=BUDGET))

    keyword = inspect.Parameter.KEYWORD_ONLY
    session = inspect.Parameter("session", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = [session, *(p.replace(kind=keyword) for p in own), *added]
    made.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    made.__doc__ = function.__doc__
    return made


def _optional(kinds: dict[str, Any]) -> list[inspect.Parameter]:
    keyword = inspect.Parameter.KEYWORD_ONLY
    return [
        inspect.Parameter(name, keyword, default=None, annotation=kind)
        for name, kind in kinds.items()
    ]


def report(session: Session, client: Client, work: Message, how: How) -> None:
    """Asks for the estimate and shows it, or how the ways to do the work compare."""
    estimated = client.estimate_cost(work, **how.arguments())
    if how.svg is not None and estimated.recommendation is not None:
        from stillroom import frontier
        from stillroom.cli import pages

        pages.write(how.svg, frontier.svg(frontier.points(estimated.recommendation)))
        session.say(f"the plot is in {how.svg}")
    if session.json_output:
        from stillroom.cli.plain import plain

        session.emit(plain(estimated.message))
        return
    from stillroom.cli import estimate_compare, estimate_view

    if estimated.recommendation is None:
        estimate_view.show(session, estimated.message.estimate)
    else:
        estimate_compare.show(session, estimated.recommendation)
