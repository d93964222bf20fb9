"""What a report holds. Imports nothing that computes: the front checks requests with it."""

from __future__ import annotations

from dataclasses import dataclass

from stillroom_registry.errors import InvalidArgument
from stillroom_server.distillation.option_values import given_options, is_int, made, refuse

_DEFAULT_BINS = 15
_MOST = {"confused_pairs": 1000, "examples_per_pair": 100, "calibration_bins": 100}


@dataclass(frozen=True)
class ReportOptions:
    """The protocol's ClassificationReportOptions, every choice filled in.

    Raises InvalidArgument with the field for what is no integer or outside its range.
    """

    confused_pairs: int = 10
    examples_per_pair: int = 3
    calibration_bins: int = 0
    include_html: bool = False

    def __post_init__(self) -> None:
        for name, most in _MOST.items():
            value = getattr(self, name)
            if not (is_int(value) and 0 <= value <= most):
                refuse(name, f"{value!r} is not an integer from 0 to {most:,}")
        if self.calibration_bins == 0:
            object.__setattr__(self, "calibration_bins", _DEFAULT_BINS)
        if self.calibration_bins < 2:
            refuse("calibration_bins", f"{self.calibration_bins} is too few: 2 to 100, or 0 for 15")
        if not isinstance(self.include_html, bool):
            refuse("include_html", f"{self.include_html!r} is not true or false")

    @classmethod
    def from_json(
        cls, value: object, *, path: str = "report_options", training: bool = False
    ) -> ReportOptions:
        """From a JSON object with these names, or None. Raises InvalidArgument whose field begins
        with ``path``; in a ``training`` for ``include_html``, too."""
        options = made(cls, given_options(cls, {} if value is None else value, path), path)
        if training and options.include_html:
            raise InvalidArgument(
                "a training does not answer HTML: the version has it as its file report.html",
                field=f"{path}.include_html",
            )
        return options
