"""The inference room: student files, tokenizers, engines, and the pool of loaded models.

Nothing heavy is imported here or below: no torch, no transformers, no onnx. onnxruntime, tokenizers
and scipy's kernels are imported when a model that needs them is loaded.
"""
