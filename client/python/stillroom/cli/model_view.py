"""What a model and its versions show to people."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from stillroom._protocol import enums
from stillroom.cli import human, version_report
from stillroom.cli.plain import plain
from stillroom.v1 import model_pb2 as pb

if TYPE_CHECKING:
    from stillroom.cli.session import Session


def show_model(session: Session, model: pb.Model, versions: list[pb.ModelVersion]) -> None:
    """A model, its versions, and the report of the newest that has one."""
    facts = [
        ("name", model.name.removeprefix("models/")),
        ("kind", enums.word(pb.ModelKind, model.kind)),
        ("description", model.description),
        ("labels", ", ".join(f"{k}={model.labels[k]}" for k in sorted(model.labels))),
        ("created", human.moment(model.create_time)),
        ("updated", human.moment(model.update_time)),
    ]
    session.facts((key, value) for key, value in facts if value)
    session.out.print()
    session.table(
        ("VERSION#", "SIZE#", "ALIASES", "CREATED", "MADE FROM"),
        (
            (
                str(version.version),
                human.size(version.total_bytes),
                ", ".join(version.aliases),
                human.moment(version.create_time),
                ", ".join(version.parents),
            )
            for version in versions
        ),
    )
    _show_damage(session, versions)
    _show_syncs(session, versions)
    for version in versions:
        found = version_report.find(version)
        if found is not None:
            session.out.print()
            found.show(session, [("report of", version.name)])
            return


def show_version(session: Session, version: pb.ModelVersion) -> None:
    """A version, its files and its report."""
    facts = [
        ("name", version.name),
        ("digest", version.digest),
        ("size", human.size(version.total_bytes)),
        ("aliases", ", ".join(version.aliases)),
        ("made from", ", ".join(version.parents)),
        ("created", human.moment(version.create_time)),
    ]
    found = version_report.find(version)
    facts += [
        (key, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
        for key, value in plain(version.metadata).items()
        if found is None or key not in found.keys  # these follow, for people
    ]
    session.facts((key, value) for key, value in facts if value)
    session.out.print()
    session.table(
        ("FILE", "SIZE#", "DIGEST"),
        ((file.path, human.size(file.size_bytes), file.digest) for file in version.files),
    )
    _show_damage(session, [version])
    _show_syncs(session, [version])
    if found is not None:
        session.out.print()
        found.show(session, [])


def _show_damage(session: Session, versions: list[pb.ModelVersion]) -> None:
    """Files that are refused."""
    rows = [
        (str(version.version), file.path, file.digest)
        for version in versions
        for file in version.damaged_files
    ]
    if rows:
        session.out.print()
        session.table(("VERSION#", "DAMAGED", "DIGEST"), rows)
        session.say("what is damaged is refused until the same bytes are there again")


def _show_syncs(session: Session, versions: list[pb.ModelVersion]) -> None:
    """Where versions were pushed to and pulled from."""
    rows = [
        (
            str(version.version),
            enums.word(pb.HubSyncDirection, sync.direction),
            f"{sync.repo}@{sync.branch}" if sync.branch else sync.repo,
            enums.word(pb.HubSyncState, sync.state),
            sync.commit[:12],
            human.moment(sync.update_time),
            sync.message,
        )
        for version in versions
        for sync in version.hub_syncs
    ]
    if rows:
        session.out.print()
        columns = ("VERSION#", "HUB", "REPOSITORY", "STATE", "COMMIT", "CHANGED", "WHY")
        session.table(columns, rows)
