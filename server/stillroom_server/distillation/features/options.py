"""What a teacher's vectors depend on, beside the teacher and the texts."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class FeatureOptions:
    """``prompt_name``: the teacher's prompt before each text; None: its default; empty: none.
    ``dtype`` and ``device``: as ``Teacher.load`` takes them, and what it must have been loaded
    with; so are ``pooling`` and ``normalize``. ``max_tokens``: a text is cut there if the teacher
    itself cuts later; None: where the teacher cuts."""

    prompt_name: str | None = None
    dtype: str = "auto"
    device: str = "auto"
    max_tokens: int | None = None
    pooling: str | None = None
    normalize: bool = True

    def resolved(self) -> FeatureOptions:
        """``auto`` replaced by what it means here; ``device`` is then its type. Raises what
        ``resolve_device`` and ``resolve_dtype`` raise."""
        from stillroom_server.distillation.precision import resolve_device, resolve_dtype

        device = resolve_device(self.device)
        dtype = str(resolve_dtype(self.dtype, device)).removeprefix("torch.")
        return replace(self, dtype=dtype, device=device.type)
