"""How good a classifier is: measured, and shown as a page and as a section of the model card.

``measure.measure`` returns a JSON object of the shape of the protocol's ClassificationReport, whose
comments define every figure; ``html.to_html`` and ``card.card_section`` show one. Figures are plain
numbers that are not rounded, counts are integers, what is unset is absent.
"""
