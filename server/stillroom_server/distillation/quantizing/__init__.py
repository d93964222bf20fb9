"""QUANTIZE: the same student in fewer bytes.

    from stillroom_server.distillation.quantizing.options import QuantizeOptions  # no torch
    from stillroom_server.distillation.quantizing.recipe import PHASES, quantize_student

    quantize_student(
        folder: Path,                       # any registered student; not changed
        output: Path,                       # the new one, ready to register; empty or absent
        options: QuantizeOptions,
        context: Context | None = None,
        *,
        name="", source_name="", description="", lineage=None,  # for the card and stillroom.json
        texts=(),                           # to measure the loss on; none: texts of its own
        verify=True,                        # False: no ONNX file
    ) -> dict                               # the facts, a JSON object

Phases: "load", "quantize" (rows), "write" (files), "verify" (runs).
"""
