"""What a benchmark found, for people and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table as Grid

from benchmarks.machine import Machine

# Above so many cores busy with other things, a rate is no figure but a hint.
CALM_CORES = 0.15


@dataclass(frozen=True)
class Table:
    """The first column names the row; all others are numbers, written out."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Target:
    """A figure and what it must be. ``met`` is None where this machine cannot tell."""

    what: str
    measured: str
    wanted: str
    met: bool | None


@dataclass
class Report:
    """Everything about one benchmark.

    ``notes`` say how it was measured, ``not_measured`` what it leaves out; ``values`` are the
    numbers behind the tables, for JSON. ``elsewhere`` are the cores that other work on the machine
    kept busy meanwhile, which matters to what is ``timed``.
    """

    name: str
    title: str
    tables: list[Table]
    targets: list[Target]
    notes: list[str]
    not_measured: list[str]
    values: dict[str, Any]
    elsewhere: float | None = None
    seconds: float = 0.0
    timed: bool = True
    knobs: dict[str, Any] = field(default_factory=dict)

    @property
    def calm(self) -> bool | None:
        """Whether the machine had little else to do; None where that is not known."""
        return None if self.elsewhere is None else self.elsewhere <= CALM_CORES

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "calm": self.calm}


def show(out: Console, report: Report) -> None:
    """Prints the report."""
    out.print()
    out.print(f"{report.name}: {report.title}", style="bold cyan")
    for table in report.tables:
        grid = Grid(title=table.title, title_justify="left", header_style="bold")
        for place, column in enumerate(table.columns):
            grid.add_column(column, justify="right" if place else "left")
        for row in table.rows:
            grid.add_row(*row)
        out.print(grid)
    for target in report.targets:
        word = {True: "met", False: "MISSED", None: "not decided here"}[target.met]
        style = {True: "green", False: "red", None: "yellow"}[target.met]
        out.print(
            f"  {word}: {target.what}: {target.measured}, wanted {target.wanted}", style=style
        )
    for note in report.notes:
        out.print(f"  - {note}")
    out.print("  Not measured:", style="bold")
    for note in report.not_measured:
        out.print(f"  - {note}")
    out.print(f"  {load(report)} The benchmark took {report.seconds:.0f} s.")


def load(report: Report) -> str:
    """A sentence on what else the machine did."""
    if report.elsewhere is None:
        return "What else the machine did is not known."
    busy = (
        f"Other work, and other guests of a host, kept {report.elsewhere:.2f} cores busy meanwhile"
    )
    if not report.timed:
        return f"{busy}, which changes no score."
    return f"{busy}." if report.calm else f"{busy}: MEASURED UNDER LOAD."


def show_machine(out: Console, machine: Machine) -> None:
    """Prints what it was measured on."""
    memory = f"{machine.memory_bytes / 2**30:.0f} GiB"
    out.print(f"{machine.cpu}, {machine.cores} cores, {memory}; {machine.system}")
    native = "native" if machine.native_bf16 else "not native"
    out.print(f"instruction sets: {' '.join(machine.flags) or 'unknown'}; bf16 is {native}")
    versions = ", ".join(f"{name} {version}" for name, version in machine.packages.items())
    out.print(f"Python {machine.python}, {versions}")
