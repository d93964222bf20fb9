"""``stillroom models``: the registry."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stillroom.cli import human
from stillroom.cli.options import command
from stillroom.cli.session import Session

if TYPE_CHECKING:
    from stillroom.v1 import model_pb2

app = typer.Typer(help="Models of the registry.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The model's name.")]
Reference = Annotated[str, typer.Argument(metavar="NAME[@V]", help="name, name@3 or name@alias.")]


@command(app, "list")
def list_models(
    session: Session,
    kind: Annotated[str | None, typer.Option(help="teacher, student or classifier.")] = None,
) -> None:
    """List the models."""
    from stillroom._protocol import enums
    from stillroom.cli.plain import plain
    from stillroom.v1 import model_pb2

    with session.client() as client:
        found = list(client.list_models(kind=kind))
    if session.json_output:
        session.emit([plain(model) for model in found])
        return
    session.table(
        ("NAME", "KIND", "LATEST#", "ALIASES", "UPDATED", "DESCRIPTION"),
        (
            (
                model.name.removeprefix("models/"),
                enums.word(model_pb2.ModelKind, model.kind),
                str(model.latest_version or ""),
                ", ".join(f"{alias}={model.aliases[alias]}" for alias in sorted(model.aliases)),
                human.moment(model.update_time),
                model.description.partition("\n")[0],
            )
            for model in found
        ),
    )


@command(app, "show")
def show(session: Session, name: Reference) -> None:
    """Show a model and its versions, or one version and its files."""
    from stillroom.cli.plain import plain

    with session.client() as client:
        if "@" in name or "/versions/" in name:
            version = client.get_version(name)
            if session.json_output:
                session.emit(plain(version))
            else:
                _show_version(session, version)
            return
        model = client.get_model(name)
        versions = list(client.list_versions(name))
    if session.json_output:
        session.emit({**plain(model), "versions": [plain(version) for version in versions]})
    else:
        _show_model(session, model, versions)


def _show_model(
    session: Session, model: model_pb2.Model, versions: list[model_pb2.ModelVersion]
) -> None:
    from stillroom._protocol import enums
    from stillroom.cli import version_report
    from stillroom.v1 import model_pb2 as pb

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
    for version in versions:
        found = version_report.find(version)
        if found is not None:
            session.out.print()
            found.show(session, [("report of", version.name)])
            return


def _show_version(session: Session, version: model_pb2.ModelVersion) -> None:
    import json

    from stillroom.cli import version_report
    from stillroom.cli.plain import plain

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
    if found is not None:
        session.out.print()
        found.show(session, [])


@command(app, "report")
def report(
    session: Session,
    name: Reference,
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write it as a page that needs nothing else."),
    ] = None,
) -> None:
    """Show how close a student is to its teacher, or how good a classifier is."""
    from stillroom.cli import pages, version_report

    with session.client() as client:
        version = client.get_version(name)
        if html is not None:
            pages.write(html, version_report.page(client, version))
            session.say(f"the report of {version.name} is in {html}")
            if not session.json_output:
                return
        found = version_report.find(version)
    if found is None:
        raise version_report.none(version.name)
    if session.json_output:
        session.emit(found.json())
    else:
        found.show(session, [(found.kind, version.name)])


@command(app, "import")
def import_model(
    session: Session,
    name: Name,
    package: Annotated[
        str | None,
        typer.Option(help="A Python package on this machine with a model in it; uploaded."),
    ] = None,
    path: Annotated[
        Path | None, typer.Option(help="A model folder on this machine; uploaded.")
    ] = None,
    hub: Annotated[
        str | None, typer.Option(metavar="REPO[@REVISION]", help="A repository on the Hub.")
    ] = None,
    server_path: Annotated[
        str | None, typer.Option(help="A folder on the server, inside an allowed root.")
    ] = None,
    upload: Annotated[str | None, typer.Option(help="A finished upload, uploads/ID.")] = None,
    kind: Annotated[
        str | None, typer.Option(help="teacher or student; found out unless given.")
    ] = None,
    description: Annotated[str | None, typer.Option(help="For people.")] = None,
    wait: Annotated[bool, typer.Option(help="Wait until it is done, with progress.")] = True,
) -> None:
    """Bring a model into the registry. Give exactly one source."""
    from stillroom.cli.launch import finish

    with session.client() as client:
        operation = client.import_model(
            name,
            package=package,
            path=path,
            hub=hub,
            server_path=server_path,
            upload=upload,
            kind=kind,
            description=description,
            progress=not session.json_output and session.err.is_terminal,
        )
        response = finish(session, operation, wait)
    if response is not None and not session.json_output:
        version = response.model_version
        session.out.print(f"{version.name}  {human.size(version.total_bytes)}")
        for skipped in response.skipped_files:
            session.say(f"left out {skipped.path}: {skipped.reason}")


@command(app, "download")
def download(
    session: Session,
    name: Reference,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new or empty folder.")],
) -> None:
    """Download the files of a version, each checked by its digest."""
    from stillroom.cli.plain import plain

    bar = not session.json_output and session.err.is_terminal
    with session.client() as client:
        version = client.download(name, folder, progress=bar)
    if session.json_output:
        session.emit({"folder": str(folder), "model_version": plain(version)})
    else:
        session.out.print(f"{version.name} is in {folder}")


@command(app, "alias")
def alias(
    session: Session,
    name: Name,
    alias: Annotated[str, typer.Argument(metavar="ALIAS", help="Such as default or production.")],
    version: Annotated[
        int | None, typer.Argument(metavar="[VERSION]", help="Where it points from now on.")
    ] = None,
    delete: Annotated[bool, typer.Option("--delete", help="Delete the alias instead.")] = False,
) -> None:
    """Point an alias to a version; a bare model name means its alias `default`."""
    from stillroom.cli.plain import plain
    from stillroom.errors import InvalidArgument

    if delete == (version is not None):
        raise InvalidArgument("give a version, or --delete and none", field="version")
    with session.client() as client:
        if version is None:
            client.delete_alias(name, alias)
            session.say(f"{name}@{alias} is gone; its version stays")
            return
        result = client.set_alias(name, alias, version)
    if session.json_output:
        session.emit(plain(result))
    else:
        session.out.print(f"{name}@{alias} is version {result.version}")


@command(app, "delete")
def delete(
    session: Session,
    name: Reference,
    force: Annotated[
        bool, typer.Option("--force", help="Also what aliases point to, with the aliases.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete a version (NAME@3), or a model with all its versions."""
    import sys

    one = "@" in name or "/versions/" in name
    if not (yes or session.json_output) and sys.stdin.isatty() and sys.stderr.isatty():
        what = name if one else f"{name} with all its versions"
        typer.confirm(f"Delete {what}?", abort=True, err=True)
    with session.client() as client:
        if one:
            client.delete_version(name, force=force)
        else:
            client.delete_model(name, force=force)
    if session.json_output:
        session.emit({"deleted": name})
    else:
        session.say(f"{name} is deleted")
