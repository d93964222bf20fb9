"""The report that a registered version has with it, of a student or of a classifier. Imported when
a command needs it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from google.protobuf.message import Message

from stillroom.errors import FailedPrecondition
from stillroom.v1 import classification_service_pb2 as pb
from stillroom.v1 import fidelity_pb2, model_pb2

if TYPE_CHECKING:
    from stillroom.cli.session import Session
    from stillroom.client import Client

M = TypeVar("M", bound=Message)
_MANIFEST = "stillroom.json"
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


@dataclass(frozen=True)
class ClassifierReport:
    """How good a classifier was on its validation data; None is what it does not tell."""

    message: pb.ClassificationReport
    description: pb.ClassifierDescription | None
    data: pb.DataReport | None
    training: pb.TrainingReport | None
    kind: ClassVar[str] = "classifier"
    keys: ClassVar[tuple[str, ...]] = ("report", "classifier", "data", "training")

    def show(self, session: Session, first: Facts) -> None:
        """All of it after ``first``, for people."""
        from stillroom.cli.classifier_view import show

        show(
            session,
            self.message,
            first=first,
            description=self.description,
            data=self.data,
            training=self.training,
        )


def find(
    client: Client, version: model_pb2.ModelVersion
) -> StudentReport | ClassifierReport | None:
    """The report of ``version``; None where it has none."""
    if version.HasField("fidelity"):
        return StudentReport(version.fidelity)
    if version.kind != model_pb2.MODEL_KIND_CLASSIFIER:
        return None
    known = _known(client, version)
    report = _read(known, "report", pb.ClassificationReport())
    if report is None:
        return None
    return ClassifierReport(
        report,
        _read(known, "classifier", pb.ClassifierDescription()),
        _read(known, "data", pb.DataReport()),
        _read(known, "training", pb.TrainingReport()),
    )


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


def _known(client: Client, version: model_pb2.ModelVersion) -> dict[str, Any]:
    """The metadata of a classifier and the metrics among its files: messages in JSON by key."""
    known = dict(MessageToDict(version.metadata))
    if any(file.path == _MANIFEST for file in version.files):
        try:
            metrics = json.loads(client.read_file(version.name, _MANIFEST))["metrics"]
            known.update(metrics)
        except (ValueError, KeyError, TypeError):  # of another release, or of somebody else
            pass
    return known


def _read(known: dict[str, Any], key: str, into: M) -> M | None:
    """A message from its JSON form; None where there is none."""
    if not isinstance(known.get(key), dict):
        return None
    try:
        return ParseDict(known[key], into, ignore_unknown_fields=True)
    except ParseError:  # of another release, or of somebody else
        return None
