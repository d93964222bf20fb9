"""``stillroom models``: the registry."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stillroom.cli import aliases, copying, hub, human, lineage, upkeep
from stillroom.cli.options import command
from stillroom.cli.session import Session

app = typer.Typer(help="Models of the registry.", no_args_is_help=True)
app.add_typer(aliases.app, name="alias")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The model's name.")]
Reference = Annotated[str, typer.Argument(metavar="NAME[@V]", help="name, name@3 or name@alias.")]


@command(app, "list")
def list_models(
    session: Session,
    kind: Annotated[str | None, typer.Option(help="teacher, student or classifier.")] = None,
    filter: Annotated[  # noqa: A002 - the protocol's name
        str | None,
        typer.Option(
            help='Those that match, such as \'labels.team = "search" AND name : "mini"\'.',
            metavar="EXPRESSION",
        ),
    ] = None,
    order_by: Annotated[
        str | None,
        typer.Option(help="name, create_time or update_time; 'update_time desc'.", metavar="FIELD"),
    ] = None,
) -> None:
    """List the models."""
    from stillroom._protocol import enums
    from stillroom.cli.plain import plain
    from stillroom.v1 import model_pb2

    with session.client() as client:
        found = list(client.list_models(kind=kind, filter=filter, order_by=order_by))
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
    from stillroom.cli import model_view
    from stillroom.cli.plain import plain

    with session.client() as client:
        if "@" in name or "/versions/" in name:
            version = client.get_version(name)
            if session.json_output:
                session.emit(plain(version))
            else:
                model_view.show_version(session, version)
            return
        model = client.get_model(name)
        versions = list(client.list_versions(name))
    if session.json_output:
        session.emit({**plain(model), "versions": [plain(version) for version in versions]})
    else:
        model_view.show_model(session, model, versions)


@command(app, "update")
def update(
    session: Session,
    name: Name,
    description: Annotated[str | None, typer.Option(help="The new one, for people.")] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="A label to set; repeatable. Others stay."),
    ] = None,
    remove_label: Annotated[
        list[str] | None, typer.Option(metavar="KEY", help="A label to remove; repeatable.")
    ] = None,
    etag: Annotated[
        str | None, typer.Option(help="Refuse if the model has another one by now.")
    ] = None,
) -> None:
    """Change a model's description and labels."""
    from stillroom.cli import distill_inputs
    from stillroom.cli.plain import plain
    from stillroom.errors import InvalidArgument

    added, removed = distill_inputs.labels(label), set(remove_label or ())
    if description is None and not added and not removed:
        raise InvalidArgument(
            "nothing to change: give --description, --label or --remove-label", field="description"
        )
    with session.client() as client:
        labels = None
        if added or removed:
            # Labels are replaced as a whole: nobody else's may be lost in between.
            model = client.get_model(name)
            kept = {key: value for key, value in model.labels.items() if key not in removed}
            labels, etag = {**kept, **(added or {})}, etag or model.etag
        model = client.update_model(name, description=description, labels=labels, etag=etag)
    if session.json_output:
        session.emit(plain(model))
    else:
        session.say(f"{name} is updated")


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


for part in (aliases, lineage, upkeep, hub, copying):
    part.register(app)
