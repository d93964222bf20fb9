"""The report that a registered version has with it, of a student or of a classifier. Imported when
a command needs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import Message

from stillroom.cli.plain import plain
from stillroom.errors import FailedPrecondition
from stillroom.v1 import classification_service_pb2 as pb
from stillroom.v1 import fidelity_pb2, model_pb2

if TYPE_CHECKING:
    from stillroom.cli.session import Session
    from stillroom.client import Client

M = TypeVar("M", bound=Message)
_CALIBRATION = "expected_calibration_error"
_PAGE = "report.html"
_FIGURE = "fidelity.svg"
Facts = list[tuple[str, str]]


@dataclass(frozen=True)
class StudentReport:
    """How close a student is to its teacher."""

    message: fidelity_pb2.FidelityReport
    kind: ClassVar[str] = "student"
    # Of the metadata, what a report shows.
    keys: ClassVar[tuple[str, ...]] = ("report",)

    def show(self, session: Session, first: Facts) -> None:
        """All of it after ``first``, for people."""
        from stillroom.cli.report_view import show

        show(session, self.message, first)

    def json(self) -> Any:
        """All of it, for machines."""
        return plain(self.message)


@dataclass(frozen=True)
class ClassifierReport:
    """What a classifier is, and its main figures on the validation data; the rest is on its page.
    ``known`` are messages in JSON, by the keys of the metadata."""

    known: dict[str, Any]
    kind: ClassVar[str] = "classifier"
    keys: ClassVar[tuple[str, ...]] = ("quality", "classifier", "data")

    def show(self, session: Session, first: Facts) -> None:
        """All of it after ``first``, for people."""
        from stillroom.cli.classifier_view import show

        figures = dict(self.known["quality"])
        error = figures.pop(_CALIBRATION, None)
        report = _read(figures, pb.ClassificationReport())
        if error is not None:
            report.calibration.expected_calibration_error = error
        description = _read(self.known.get("classifier"), pb.ClassifierDescription())
        report.task = description.task
        data = _read(self.known.get("data"), pb.DataReport())
        show(session, report, first=first, description=description, data=data)
        session.say("its labels, confused pairs and curves are on its page: models report --html")

    def json(self) -> Any:
        """All of it, for machines."""
        return {key: self.known[key] for key in self.keys if key in self.known}


def find(version: model_pb2.ModelVersion) -> StudentReport | ClassifierReport | None:
    """The report of ``version``; None where it has none."""
    if version.HasField("fidelity"):
        return StudentReport(version.fidelity)
    if version.kind != model_pb2.MODEL_KIND_CLASSIFIER:
        return None
    known = plain(version.metadata)
    return ClassifierReport(known) if isinstance(known.get("quality"), dict) else None


def page(client: Client, version: model_pb2.ModelVersion) -> str:
    """The report as a page that needs nothing else: a student's is made here, a classifier's is one
    of its files. FailedPrecondition when it has none."""
    files = {file.path for file in version.files}
    if version.kind == model_pb2.MODEL_KIND_CLASSIFIER and _PAGE in files:
        return client.read_file(version.name, _PAGE).decode()
    if not version.HasField("fidelity"):
        raise none(version.name)
    from stillroom.report_html import render

    figure = client.read_file(version.name, _FIGURE).decode() if _FIGURE in files else None
    return render(version.fidelity, name=version.name, figure_svg=figure)


def none(name: str) -> FailedPrecondition:
    """The error of a version without a report."""
    return FailedPrecondition(
        f"{name} has no report: only what was distilled or trained here has one",
        reason="NO_REPORT",
        field="name",
    )


def _read(value: Any, into: M) -> M:
    """A message from its JSON form; what a release does not know, or cannot read, is left out."""
    try:
        return ParseDict(value, into, ignore_unknown_fields=True)
    except (ParseError, AttributeError, TypeError):
        return type(into)()
