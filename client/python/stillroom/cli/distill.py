"""``stillroom distill``: a student out of a teacher."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stillroom.cli import human
from stillroom.cli.options import command
from stillroom.cli.session import Session

if TYPE_CHECKING:
    from stillroom.v1 import distillation_service_pb2 as pb


def register(app: typer.Typer) -> None:
    """Adds the command to ``app``."""
    command(app, "distill")(distill)


def distill(
    session: Session,
    teacher: Annotated[
        str, typer.Argument(metavar="TEACHER", help="A registered one: name, name@3, name@alias.")
    ],
    name: Annotated[str, typer.Option(help="The student's name; gets a new version.")],
    dimensions: Annotated[int | None, typer.Option(help="Of the student (256).")] = None,
    variance: Annotated[
        float | None, typer.Option(help="Instead: dimensions that explain this share of it.")
    ] = None,
    all_dimensions: Annotated[
        bool, typer.Option("--all-dimensions", help="Instead: the teacher's, without PCA.")
    ] = False,
    sif_coefficient: Annotated[
        float | None, typer.Option(help="Weighs frequent tokens down (1e-4); 0 does not.")
    ] = None,
    pooling: Annotated[
        str | None, typer.Option(help="mean, first, last, pooler; the teacher's own unless given.")
    ] = None,
    element_type: Annotated[
        str | None, typer.Option(help="Of the stored table: float32, float16 (default), int8.")
    ] = None,
    add_words: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Words to add, one a line.")
    ] = None,
    remove_tokens: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Tokens to drop, one a line.")
    ] = None,
    remove_pattern: Annotated[
        str | None, typer.Option(help="Regular expression of tokens to drop.")
    ] = None,
    prompt_name: Annotated[str | None, typer.Option(help="A prompt of the teacher's.")] = None,
    max_tokens: Annotated[
        int | None, typer.Option(help="Most tokens of a text that count (default: no limit).")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of everything random (0).")] = None,
    description: Annotated[str | None, typer.Option(help="For people.")] = None,
    label: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="A label; repeatable.")
    ] = None,
    validate_only: Annotated[
        bool, typer.Option("--validate-only", help="Check everything, make nothing.")
    ] = False,
    wait: Annotated[bool, typer.Option(help="Wait until it is done, with progress.")] = True,
) -> None:
    """Distill a teacher into a small, fast student."""
    from stillroom.cli.launch import finish

    with session.client() as client:
        operation = client.distill(
            teacher,
            name,
            dimensions=dimensions,
            variance=variance,
            all_dimensions=all_dimensions or None,
            sif_coefficient=sif_coefficient,
            pooling=pooling,
            element_type=element_type,
            add_words=_lines(add_words),
            remove_tokens=_lines(remove_tokens),
            remove_pattern=remove_pattern,
            prompt_name=prompt_name,
            max_tokens=max_tokens,
            seed=seed,
            description=description,
            labels=_labels(label),
            validate_only=validate_only,
        )
        response = finish(session, operation, wait)
    if response is not None and not session.json_output:
        _report(session, response)


def _lines(path: Path | None) -> list[str] | None:
    if path is None:
        return None
    from stillroom.cli.textfile import lines

    return [line for line in lines(path) if line.strip()]


def _labels(pairs: list[str] | None) -> dict[str, str] | None:
    from stillroom.errors import InvalidArgument

    if not pairs:
        return None
    labels = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise InvalidArgument(f"the label {pair!r} is not KEY=VALUE", field="label")
        labels[key] = value
    return labels


def _report(session: Session, response: pb.DistillResponse) -> None:
    report = response.report
    facts = [
        ("student", response.model_version.name or "none was made: everything checks out"),
        ("teacher", response.teacher_version),
    ]
    if report.student_bytes:
        small, large = human.size(report.student_bytes), human.size(report.teacher_bytes)
        ratio = report.teacher_bytes / report.student_bytes
        facts += [
            ("vocabulary", f"{report.vocabulary_size:,} tokens x {report.dimensions} dimensions"),
            ("size", f"{small} (teacher: {large}, {ratio:.1f} times as much)"),
            ("variance kept", f"{report.explained_variance:.1%}"),
        ]
    if report.HasField("onnx_parity"):
        parity = report.onnx_parity
        checked = f"{parity.texts:,} texts, {parity.runs} runs"
        facts.append(("ONNX", f"verified: {checked}, largest error {parity.max_abs_error:.1e}"))
    if report.HasField("mean_cosine"):
        facts.append(("cosine", f"{report.mean_cosine:.4f} to the teacher, on held-out texts"))
    if report.seconds:
        total = human.duration(sum(report.seconds.values()))
        phases = sorted(report.seconds.items(), key=lambda item: -item[1])
        parts = ", ".join(f"{phase} {human.duration(value)}" for phase, value in phases)
        facts.append(("time", f"{total} ({parts})"))
    session.facts((key, value) for key, value in facts if value)
