"""Rates of the machine that docs/performance.md describes: a core of an Intel Xeon at 2.50 GHz
(Cascade Lake), for hosts that nobody measured, and for what a calibration cannot measure in time.

``REFERENCE`` are the lines of ``cost.calibration.rates``, measured by it on that machine, calm.
``OVERHEADS`` were fitted to whole operations there, in seconds of a core: distillations of a
teacher of 6 layers and 384 dimensions and of one of 2 and 128, and trainings on the students of
both. Each follows another rate from host to host: where that takes twice as long, so does it, but
for ``python``, of which it feels less (see ``speeds``).
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


# A teacher's passes that nobody timed: by their operations, and by what their layers write.
TEACHER_GFLOP = 0.0088
TEACHER_ELEMENT = 5.4e-9
TEACHER_WIDTH = 384.0  # of the line ``pca``
VOCABULARY_TOKENS = 3.0  # of a row: itself between two special ones

REFERENCE: Mapping[str, Reference] = {
    "python": Reference(2.23e-4),
    "matmul": Reference(0.0116),
    "memory": Reference(1.02e-10),
    "hash": Reference(2.7e-9),
    "write": Reference(6.0e-9, 3.0e-3),
    "process.start": Reference(0.034),
    "torch.import": Reference(1.7),
    "teacher.load": Reference(2.0e-9),
    "teacher.tokenize": Reference(4.5e-6),
    "teacher.forward": Reference(3.8e-4),
    "teacher.attention": Reference(8.0e-7),
    "teacher.vocabulary": Reference(1.1e-3),
    "pca": Reference(8.0e-6, 0.12),
    "student.load": Reference(1.35e-8),
    "student.tokenize": Reference(3.2e-8, 3.1e-6),
    "student.embed": Reference(1.03e-7, 4.4e-5),
    "classifier.classify": Reference(1.5e-7, 6.0e-5),
}
"""By name; units as in ``rates.UNITS``. Lines of a teacher are those of all-MiniLM-L6-v2."""

OVERHEADS: Mapping[str, Overhead] = {
    # A teacher's passes, see above.
    "pass.product": Overhead(TEACHER_GFLOP, MATMUL),
    "pass.element": Overhead(TEACHER_ELEMENT, MEMORY),
    # A distillation.
    "distill.start": Overhead(0.3, PYTHON),  # a run: what recipes import
    "tokenizer.build": Overhead(9.0e-6, PYTHON),  # a token of a vocabulary, read and written anew
    "corpus.text": Overhead(9.0e-6, PYTHON),  # a text: read, cleaned, hashed, told apart
    "corpus.byte": Overhead(2.0e-8, PYTHON),
    "product": Overhead(0.0116, MATMUL),  # a GFLOP of products between other things
    "reduce.element": Overhead(2.0e-8, MEMORY),  # an element of a row on its way through PCA
    "survey.token": Overhead(3.0e-6, PYTHON),  # a token of a text whose words and pairs are counted
    "bags.token": Overhead(2.5e-6, PYTHON),  # a token that becomes an entry of a sparse matrix
    "fit.entry": Overhead(1.6e-9, MEMORY),  # an element of a row that is gathered or scattered
    "train.start": Overhead(0.7, PYTHON),  # a tuning: the first judgement, autograd's own
    "train.entry": Overhead(3.0e-9, MEMORY),  # an element that a step gathers or scatters
    "train.pair": Overhead(6.5e-8, MEMORY),  # two texts that a step compares, at one prefix
    "train.batch": Overhead(4.0e-3, PYTHON),  # a step
    "train.save": Overhead(4.5e-9, MEMORY),  # a byte of a checkpoint, beside its disk
    "student.write": Overhead(3.0e-9, MEMORY),  # an element of a table
    "tokenizer.check": Overhead(0.8, PYTHON),  # a fast one, held to the reference
    "prepare.start": Overhead(0.6, PYTHON),  # a tuning: what it imports
    "parity": Overhead(0.9, PYTHON),  # 200 runs of a graph and of its reference
    "parity.byte": Overhead(7.0e-9, MEMORY),  # a byte of a table that both load
    "report": Overhead(1.6, PYTHON),  # figures drawn, speed measured
    "report.map": Overhead(5.6e-3, MATMUL),  # a dimension that ten maps of built-in texts lead to
    "report.text": Overhead(2.0e-4, PYTHON),  # a text whose neighbors are compared
    "cluster.entry": Overhead(2.0e-9, MEMORY),
    # A training of a classifier.
    "classifier.start": Overhead(0.2, PYTHON),
    "data.text": Overhead(1.1e-5, PYTHON),
    "encoder.start": Overhead(0.04, PYTHON),
    "encoder.token": Overhead(6.0e-6, PYTHON),  # of a text for a table
    "solver.product": Overhead(0.015, MATMUL),  # a GFLOP of a head's own products
    "solver.start": Overhead(0.008, PYTHON),  # a fit
    "gradient.batch": Overhead(1.2e-3, PYTHON),
    "gradient.entry": Overhead(2.4e-9, MEMORY),
    "calibrate.cell": Overhead(1.0e-7, PYTHON),  # a text and label, in all turns of the search
    "classifier.write": Overhead(0.12, PYTHON),
    "classifier.parity": Overhead(0.1, PYTHON),
    "classifier.report": Overhead(0.1, PYTHON),
    "classifier.report.cell": Overhead(4.0e-7, PYTHON),  # a text and label that are compared
    # Serving.
    "request.unary": Overhead(6.5e-4, PYTHON),  # a request, without what it asks for
    "stream.open": Overhead(2.0e-3, PYTHON),  # a stream, to its first item
    "request.stream_item": Overhead(5.0e-4, PYTHON),
    "answer.byte": Overhead(3.8e-9, MEMORY),  # of vectors on their way out
    "teacher.request": Overhead(1.2e-3, PYTHON),  # to the engine and back
    # Transfers.
    "publish": Overhead(0.04, PYTHON),  # a version
    "publish.file": Overhead(2.0e-3, PYTHON),
    "network.byte": Overhead(1.5e-9, MEMORY),  # TLS and copies
    "import.checks": Overhead(1.1, PYTHON),  # the tokenizer tried in a process of its own
}
"""What a unit is stands beside each."""

STEP_OVER_FORWARD = 8.3
"""How many times longer a step of training a transformer takes than its forward pass."""
