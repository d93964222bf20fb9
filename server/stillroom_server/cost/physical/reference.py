"""Rates of the machine that docs/performance.md describes: a core of an Intel Xeon at 2.50 GHz
(Cascade Lake), for hosts that nobody measured, and for what a calibration cannot measure in time.

``REFERENCE`` are the lines of ``cost.calibration.rates``, measured by it on that machine, calm.
``OVERHEADS`` were fitted to whole operations there (see docs/estimates.md), in seconds of a core.
Each follows another rate from host to host: one whose ``follows`` takes twice as long takes twice
as long.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

PYTHON, MATMUL, MEMORY, WRITE = "python", "matmul", "memory", "write"


@dataclass(frozen=True, slots=True)
class Reference:
    """``intercept`` seconds a call, ``slope`` seconds a unit."""

    slope: float
    intercept: float = 0.0


@dataclass(frozen=True, slots=True)
class Overhead:
    """``slope`` seconds of a core a unit (see the comment of each), in proportion to the rate
    ``follows``."""

    slope: float
    follows: str


# The teacher is all-MiniLM-L6-v2: other teachers' passes follow from their operations.
TEACHER_TOKEN_GFLOP = 0.0213  # 2 x 10.6 million weights
TEACHER_PAIR_GFLOP = 4.0 * 6 * 384 / 1e9
TEACHER_WIDTH = 384
VOCABULARY_TOKENS = 3.0  # of a row: itself between two special ones

REFERENCE: Mapping[str, Reference] = {
    "python": Reference(2.3e-4),
    "matmul": Reference(0.0105),
    "memory": Reference(1.0e-10),
    "hash": Reference(2.8e-9),
    "write": Reference(6.0e-9, 5.0e-3),
    "process.start": Reference(0.034),
    "torch.import": Reference(1.8),
    "teacher.load": Reference(4.6e-9),
    "teacher.tokenize": Reference(3.1e-6),
    "teacher.forward": Reference(3.3e-4),
    "teacher.attention": Reference(1.4e-7),
    "teacher.vocabulary": Reference(9.5e-4),
    "pca": Reference(1.55e-5, 0.027),
    "student.load": Reference(1.35e-8),
    "student.tokenize": Reference(3.1e-8, 3.0e-6),
    "student.embed": Reference(1.0e-7, 4.4e-5),
    "classifier.classify": Reference(2.0e-7, 6.0e-5),
}
"""By name; units as in ``rates.UNITS``."""

OVERHEADS: Mapping[str, Overhead] = {
    # A distillation.
    "distill.start": Overhead(1.2, PYTHON),  # a run: imports of recipes, the operation's own rows
    "tokenizer.build": Overhead(1.6e-5, PYTHON),  # a token of a vocabulary, read and written anew
    "corpus.text": Overhead(9.0e-6, PYTHON),  # a text: read, cleaned, hashed, told apart
    "corpus.byte": Overhead(2.0e-8, PYTHON),
    "survey.token": Overhead(6.0e-7, PYTHON),  # a token of a text whose words and pairs are counted
    "bags.token": Overhead(1.5e-6, PYTHON),  # a token that becomes an entry of a sparse matrix
    "fit.entry": Overhead(1.6e-9, MEMORY),  # an element of a row that is gathered or scattered
    "train.entry": Overhead(3.0e-9, MEMORY),  # the same in steps of training
    "train.batch": Overhead(9.0e-3, PYTHON),  # a step of tuning
    "train.product": Overhead(0.0105, MATMUL),  # a GFLOP, over that of large products
    "step.forward": Overhead(7.9, MATMUL),  # a training pass of a transformer over a forward one
    "student.write": Overhead(3.0e-9, MEMORY),  # an element of a table
    "parity": Overhead(0.9, PYTHON),  # 200 runs of a graph and of its reference
    "parity.byte": Overhead(1.0e-8, MEMORY),  # a byte of a table that both load
    "report": Overhead(2.6, PYTHON),  # figures drawn, speed measured
    "report.text": Overhead(6.0e-4, PYTHON),  # a text whose neighbors are compared
    "cluster.entry": Overhead(2.0e-9, MEMORY),
    # A training.
    "train.start": Overhead(0.9, PYTHON),
    "data.text": Overhead(2.5e-5, PYTHON),
    "solver.product": Overhead(0.0147, MATMUL),  # a GFLOP of a linear head's own products
    "gradient.batch": Overhead(1.5e-3, PYTHON),
    "gradient.entry": Overhead(4.0e-9, MEMORY),
    "classifier.report": Overhead(0.5, PYTHON),
    "classifier.report.cell": Overhead(1.5e-6, PYTHON),  # a text and label that are compared
    "classifier.write": Overhead(0.25, PYTHON),
    "calibrate.cell": Overhead(1.0e-7, PYTHON),  # a text and label, in all turns of the search
    "classifier.parity": Overhead(0.5, PYTHON),
    # Serving.
    "request.unary": Overhead(6.5e-4, PYTHON),  # a request, without what it asks for
    "request.stream_item": Overhead(5.0e-4, PYTHON),
    "answer.byte": Overhead(3.8e-9, MEMORY),  # of vectors on their way out
    "teacher.request": Overhead(1.2e-3, PYTHON),  # to the engine and back
    # Transfers.
    "publish": Overhead(0.05, PYTHON),  # a version
    "publish.file": Overhead(2.0e-3, PYTHON),
    "network.byte": Overhead(1.5e-9, MEMORY),  # TLS and copies
    "import.checks": Overhead(1.1, PYTHON),  # the tokenizer tried in a process of its own
}
"""What a unit is stands beside each."""
