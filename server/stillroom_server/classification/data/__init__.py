"""Labeled data: from any source to examples, from examples to targets, and what was odd.

``examples.read`` copies and reads a source (``source``, ``copying``, ``tables``, ``records``,
``parquet``); ``prepared.prepare`` makes targets of the examples; ``report.data_report`` tells what
the data were. How a part is kept for validation is in ``classification.splits``.
"""
