"""A measuring process: reads what to measure from standard input, and writes each line that it
found as JSON to standard output at once, so that what was found counts when it is killed.

python -m stillroom_server.cost.calibration.child
"""

from __future__ import annotations

import time

_STARTED = time.process_time()  # before what follows imports anything

import json  # noqa: E402
import math  # noqa: E402
import os  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402
from collections.abc import Iterator, Mapping  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import IO, Any  # noqa: E402

from stillroom_server.cost.calibration.probes.stopwatch import Allowance, Stopwatch  # noqa: E402
from stillroom_server.cost.calibration.rates import Line, fit  # noqa: E402

_HOST_SECONDS = 0.4  # of all, as a model has more to do


def main() -> None:
    """Measures until all is done or the time is over."""
    spec = json.loads(sys.stdin.readline())
    os.nice(int(spec["nice"]))
    # Should the parent die before it can kill. No limit of CPU time: while Linux watches one, the
    # clock of the process moves only with the timer's ticks.
    signal.alarm(math.ceil(float(spec["seconds"])) + 1)
    # What libraries print is no answer.
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        allowed = Allowance(float(spec["seconds"]))
        group = spec["group"]
        try:
            for line in _lines(group, spec, allowed):
                _say(answers, {"group": group, "line": line.to_json()})
            _say(answers, {"done": group})
        except Exception as error:
            _say(answers, {"failed": group, "why": f"{type(error).__name__}: {error}"})
    # Without teardown, which would wait for threads of libraries.
    os._exit(0)


def _say(answers: IO[str], said: Mapping[str, Any]) -> None:
    print(json.dumps(said), file=answers, flush=True)


def _lines(group: str, spec: Mapping[str, Any], allowed: Allowance) -> Iterator[Line]:
    watch = Stopwatch()
    verdicts = Path(spec["verdicts"]) if spec.get("verdicts") else None
    match group:
        case "host":
            from stillroom_server.cost.calibration.probes import host

            yield fit("process.start", [(1.0, _STARTED)])
            yield from host.probe(Path(spec["scratch"]), watch, allowed.at_most(_HOST_SECONDS))
        case "teacher":
            from stillroom_server.cost.calibration.probes import teacher

            yield from teacher.probe(
                teacher.Asked(
                    Path(spec["folder"]), int(spec["threads"]), spec["device"], spec["dtype"]
                ),
                watch,
                allowed,
            )
        case "student":
            from stillroom_server.cost.calibration.probes import student

            yield from student.probe(Path(spec["folder"]), verdicts, watch, allowed)
        case "classifier":
            from stillroom_server.cost.calibration.probes import student

            yield from student.probe_classifier(Path(spec["folder"]), verdicts, watch, allowed)
        case _:
            raise ValueError(f"nothing is known of {group!r}")


if __name__ == "__main__":
    main()
