"""Classifiers: how good, how soon trained, how fast served; beside model2vec's, same student."""

from __future__ import annotations

import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.data import Data, Labeled
from benchmarks.figures import Summary, percentile, ratio, summarize
from benchmarks.knobs import Knobs
from benchmarks.prepare import STUDENT, distilled
from benchmarks.quality import accuracy
from benchmarks.report import Report, Table, Target
from benchmarks.serving import Serving, serving
from benchmarks.stream import Case, Side, alternate
from benchmarks.tuned import encoder
from benchmarks.worker import Worker, worker
from stillroom import Client

BANKING77, TREC, TUNED = "banking77", "trec", "tuned"
ON_TUNED = f"{BANKING77}-on-{TUNED}"
SETS = (BANKING77, TREC)
FEW = 8  # examples a class
AT = 256
OURS, LIBRARY = "stillroom", "model2vec"
OURS_TUNED = f"{OURS}, on {TUNED}"
_BLOCK = 100  # calls of one model before it is the other's turn

Say = Callable[[str], None]


@dataclass(frozen=True)
class Trained:
    """One classifier of each side on one set: accuracies in percent, seconds of training."""

    ours: float
    library: float
    our_seconds: float
    library_seconds: float
    calibration_error: float


@dataclass(frozen=True)
class FewShot:
    """``FEW`` examples a class: accuracies in percent, of ours and of the teacher's probe."""

    ours: float
    probe: float
    seconds: float

    @property
    def share(self) -> float:
        """Of the probe's accuracy."""
        return self.ours / self.probe


def run(knobs: Knobs, data: Data, say: Say) -> Report:
    """Trains both sides on each set, then serves the classifier of Banking77."""
    sets = {name: (getattr(data, name)("train"), getattr(data, name)("test")) for name in SETS}
    with tempfile.TemporaryDirectory(prefix="stillroom-bench-") as folder:
        workspace = Path(folder)
        data_dir, student = distilled(knobs, workspace, say)
        files = {name: _write(workspace, name, *sets[name]) for name in SETS}
        log = workspace / "server.log"
        with (
            serving(data_dir, log, "--preload", STUDENT, "--log-level", "warning") as server,
            Client(server.address) as client,
            worker("benchmarks.sides.classify_model2vec", str(student)) as library,
        ):
            # Banking77 last: it is what the library's worker predicts with afterwards.
            trained = {
                name: _train(client, library, name, sets[name], files[name], say)
                for name in reversed(SETS)
            }
            say("distilling with the corpus")
            size = knobs.dimensions
            client.distill("teacher", TUNED, corpus=data.corpus(), dimensions=size).result()
            client.train_classifier(ON_TUNED, TUNED, _pairs(sets[BANKING77][0])).result()
            texts = workspace / "texts.json"
            texts.write_text(json.dumps(sets[BANKING77][1].texts))
            with _sides(server, library, texts) as sides:
                cases: list[Case] = [(OURS, batch) for batch in knobs.batches if batch > 1]
                cases += [(OURS_TUNED, AT), (LIBRARY, None), (LIBRARY, AT)]
                spans = alternate(sides, cases, len(sets[BANKING77][1].texts), knobs, say)
                single = _single(sides[OURS].asked, knobs, say)
            few = {each: _few(client, each, *sets[BANKING77], say) for each in (STUDENT, TUNED)}
    served = {case: summarize(done) for case, done in spans.items()}
    return _report(knobs, trained, few, served, single)


def _write(workspace: Path, name: str, train: Labeled, test: Labeled) -> tuple[Path, Path]:
    files = workspace / f"{name}-train.json", workspace / f"{name}-test.json"
    for file, part in zip(files, (train, test), strict=True):
        file.write_text(json.dumps([part.texts, part.labels]))
    return files


def _train(
    client: Client,
    library: Worker,
    name: str,
    parts: tuple[Labeled, Labeled],
    files: tuple[Path, Path],
    say: Say,
) -> Trained:
    train, test = parts
    say(f"{name}: {LIBRARY} fits")
    theirs = library.ask(train=str(files[0]), test=str(files[1]))
    say(f"{name}: {OURS} trains")
    started = time.perf_counter()
    client.train_classifier(name, STUDENT, _pairs(train)).result()
    seconds = time.perf_counter() - started
    say(f"{name}: {OURS} evaluates")
    report = client.evaluate_classifier(name, _pairs(test)).result().report
    return Trained(
        ours=100.0 * report.accuracy,
        library=theirs["accuracy"],
        our_seconds=seconds,
        library_seconds=theirs["seconds"],
        calibration_error=report.calibration.expected_calibration_error,
    )


def _few(client: Client, student: str, train: Labeled, test: Labeled, say: Say) -> FewShot:
    order = list(range(len(train.texts)))
    random.Random(0).shuffle(order)
    chosen: list[int] = []
    taken: dict[str, int] = {}
    for index in order:
        label = train.labels[index]
        if taken.setdefault(label, 0) < FEW:
            taken[label] += 1
            chosen.append(index)
    part = Labeled([train.texts[i] for i in chosen], [train.labels[i] for i in chosen])
    say(f"{FEW} examples a class: {OURS} trains on {student}")
    client.train_classifier("few", student, _pairs(part)).result()  # the runner is up
    started = time.perf_counter()
    client.train_classifier("few", student, _pairs(part), seed=1).result()
    seconds = time.perf_counter() - started
    found = client.classify(test.texts, model="few").labels
    right = sum(label == wanted for label, wanted in zip(found, test.labels, strict=True))
    say(f"{FEW} examples a class: a probe on the teacher's vectors")
    probe = accuracy(encoder(client, "teacher"), part, test)
    return FewShot(100.0 * right / len(test.texts), probe, seconds)


def _pairs(part: Labeled) -> list[tuple[str, str]]:
    return list(zip(part.texts, part.labels, strict=True))


@contextmanager
def _sides(server: Serving, library: Worker, texts: Path) -> Iterator[dict[str, Side]]:
    with ExitStack() as stack:
        sides = {LIBRARY: Side(library, {"library": library.pid}, {})}
        for side, classifier in ((OURS, BANKING77), (OURS_TUNED, ON_TUNED)):
            arguments = (str(texts), classifier, STUDENT, server.address)
            client = stack.enter_context(worker("benchmarks.sides.classify_client", *arguments))
            sides[side] = Side(client, {"server": server.pid, "client": client.pid}, {})
        yield sides


def _single(client: Worker, knobs: Knobs, say: Say) -> dict[str, list[float]]:
    """Seconds of unary calls of one text, by model, in turns."""
    say("one text by unary")
    found: dict[str, list[float]] = {BANKING77: [], STUDENT: []}
    for block in range(knobs.warm_up + max(1, knobs.calls // _BLOCK)):
        for model, seconds in found.items():
            done = client.ask(calls=_BLOCK, model=model)
            if block >= knobs.warm_up:
                seconds += done
    return found


def _report(
    knobs: Knobs,
    trained: Mapping[str, Trained],
    few: Mapping[str, FewShot],
    served: Mapping[Case, Summary],
    single: Mapping[str, list[float]],
) -> Report:
    base = served[LIBRARY, None]
    better = {name: each.ours - each.library for name, each in trained.items()}
    faster = {name: each.our_seconds / each.library_seconds for name, each in trained.items()}
    middle = {model: percentile(seconds, 0.5) for model, seconds in single.items()}
    slower = ratio(middle[BANKING77], middle[STUDENT])
    mean = statistics.fmean(better.values())
    error = trained[BANKING77].calibration_error
    targets = [
        Target(
            "accuracy over model2vec's, the least of the sets",
            f"{min(better.values()):+.1f}",
            "above 0",
            min(better.values()) > 0,
        ),
        Target("the same, the mean", f"{mean:+.1f}", "+1.5 or more", mean >= 1.5),
        Target(
            "training time to model2vec's, the most of the sets",
            f"{max(faster.values()):.2f}",
            "0.5 or less",
            max(faster.values()) <= 0.5,
        ),
        Target(
            "calibration error on Banking77's test", f"{error:.3f}", "0.03 or less", error <= 0.03
        ),
        Target(
            f"{FEW} examples a class, tuned student, share of a probe on the teacher",
            f"{few[TUNED].share:.1%}",
            "95% or more",
            few[TUNED].share >= 0.95,
        ),
        Target(
            "the same, seconds",
            f"{few[TUNED].seconds:.2f}",
            "2 or less",
            few[TUNED].seconds <= 2,
        ),
        Target(
            "one text, Classify's p50 to Embed's", f"{slower:.2f}", "1.2 or less", slower <= 1.2
        ),
    ]
    if (OURS, AT) in served:
        times = ratio(served[OURS, AT].rate, base.rate)
        what = f"ClassifyStream at {AT} texts a message to model2vec's predict"
        targets.append(Target(what, f"{times:.1f}", "8 or more", times >= 8))
    others = [each.elsewhere for each in served.values() if each.elsewhere is not None]
    return Report(
        name="classify",
        title="classifiers on a student, beside model2vec's on the same one",
        tables=[
            Table(
                "accuracy in percent, and seconds of training",
                ["set", OURS, LIBRARY, "difference", "seconds", f"{LIBRARY}'s", "ratio"],
                [_trained_row(name, each) for name, each in trained.items()],
            ),
            Table(
                f"Banking77, {FEW} examples a class",
                ["student", OURS, "probe on the teacher", "share", "seconds"],
                [_few_row(student, each) for student, each in few.items()],
            ),
            Table(
                f"{knobs.rounds} rounds a case, in turns",
                ["side", "texts a call", "texts/s, median", "range", "to predict", "cores"],
                [_served_row(case, each, base) for case, each in served.items()],
            ),
            Table(
                f"one text by unary, microseconds, {knobs.calls:,} calls a cell",
                ["model", "p50", "p99"],
                [
                    [model, *(f"{1e6 * percentile(seconds, at):,.0f}" for at in (0.5, 0.99))]
                    for model, seconds in single.items()
                ],
            ),
        ],
        targets=targets,
        notes=[
            f"A student of {knobs.dimensions} dimensions, distilled without a corpus ({TUNED}: with"
            " corpus/general.txt); no option is given on either side.",
            "stillroom's seconds are those of the whole operation, from the call to the registered"
            " classifier: data, training, calibration, ONNX and its check; the first one also"
            " starts the runner. model2vec's are those of loading the student and fit.",
            "predict: of all texts in one call, in-process.",
        ],
        not_measured=["Multi-label data; long texts; fine-tuned teachers."],
        values={
            "trained": {name: vars(each) for name, each in trained.items()},
            "few": {student: vars(each) for student, each in few.items()},
            "served": [
                {"side": side, "batch": batch, **vars(summary)}
                for (side, batch), summary in served.items()
            ],
            "single": middle,
        },
        elsewhere=statistics.median(others) if others else None,
    )


def _trained_row(name: str, each: Trained) -> list[str]:
    numbers: list[Any] = [each.ours, each.library]
    return [
        name,
        *(f"{number:.1f}" for number in numbers),
        f"{each.ours - each.library:+.1f}",
        f"{each.our_seconds:.1f}",
        f"{each.library_seconds:.1f}",
        f"{each.our_seconds / each.library_seconds:.2f}",
    ]


def _few_row(student: str, each: FewShot) -> list[str]:
    scores = [f"{each.ours:.1f}", f"{each.probe:.1f}", f"{each.share:.1%}"]
    return [student, *scores, f"{each.seconds:.2f}"]


def _served_row(case: Case, summary: Summary, base: Summary) -> list[str]:
    side, batch = case
    return [
        side,
        f"{batch:,}" if batch else "all",
        f"{summary.rate:,.0f}",
        f"{summary.least:,.0f} to {summary.most:,.0f}",
        f"{ratio(summary.rate, base.rate):.2f}",
        " + ".join(f"{busy:.2f}" for busy in summary.cores.values()),
    ]
