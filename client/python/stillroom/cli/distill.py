"""``stillroom distill``: a student out of a teacher."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stillroom.cli.options import command
from stillroom.cli.session import Session

if TYPE_CHECKING:
    from stillroom.v1 import distillation_service_pb2 as pb

# Which students an option is for.
_STATIC = "Static"
_TUNED = "Static-tuned"
_TRAINED = "Trained"
_SHALLOW = "Transformer"


def register(app: typer.Typer) -> None:
    """Adds the command to ``app``."""
    command(app, "distill")(distill)


def _option(whose: str, text: str, **settings: Any) -> Any:
    return typer.Option(help=f"{whose}: {text}", **settings)


def distill(
    session: Session,
    teacher: Annotated[
        str,
        typer.Argument(
            metavar="TEACHER",
            help="A registered one: name, name@3, name@alias; with --recipe quantize, a student.",
        ),
    ],
    name: Annotated[str, typer.Option(help="The student's name; gets a new version.")],
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="RECIPE",
            help="auto, static, static-tuned, transformer or quantize. Unless given, what else is"
            " given decides: static-tuned with a corpus, else static.",
        ),
    ] = None,
    corpus: Annotated[
        Path | None,
        typer.Option(
            help="Texts of the domain on this machine, one a line; uploaded.", metavar="FILE"
        ),
    ] = None,
    corpus_path: Annotated[
        str | None,
        typer.Option(
            help="Instead of --corpus: on the server, in an allowed root.", metavar="SERVERFILE"
        ),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(help="Instead of --corpus: a dataset on the Hub.", metavar="REPO[@REVISION]"),
    ] = None,
    dataset_split: Annotated[str | None, typer.Option(help="Of the dataset (train).")] = None,
    dataset_column: Annotated[str | None, typer.Option(help="Of the dataset (text).")] = None,
    evaluate: Annotated[
        list[str] | None,
        typer.Option(
            help="CSV or TSV with known answers, uploaded and scored: rows of score, sentence,"
            " sentence, or columns text and label; repeatable.",
            metavar="NAME=FILE",
        ),
    ] = None,
    evaluate_test: Annotated[
        list[str] | None,
        typer.Option(
            help="Labels to test that evaluation on, rather than a fifth of it.",
            metavar="NAME=FILE",
        ),
    ] = None,
    dimensions: Annotated[int | None, typer.Option(help="Of the student (static: 256).")] = None,
    element_type: Annotated[
        str | None, typer.Option(help="How weights are stored: float32, float16, int8.")
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option(help="Most tokens of a text that count.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of everything random (0).")] = None,
    variance: Annotated[
        float | None,
        _option(_STATIC, "instead of --dimensions, so many as explain this share of the variance."),
    ] = None,
    all_dimensions: Annotated[
        bool,
        typer.Option(
            "--all-dimensions",
            help="Static: instead of --dimensions, the teacher's, without PCA.",
        ),
    ] = False,
    sif_coefficient: Annotated[
        float | None, _option(_STATIC, "weighs frequent tokens down (1e-4); 0 does not.")
    ] = None,
    pooling: Annotated[
        str | None,
        _option(_STATIC, "mean, first, last, pooler; the teacher's own unless given."),
    ] = None,
    add_words: Annotated[
        Path | None, _option(_STATIC, "words to add, one a line.", metavar="FILE")
    ] = None,
    remove_tokens: Annotated[
        Path | None, _option(_STATIC, "tokens to drop, one a line.", metavar="FILE")
    ] = None,
    remove_pattern: Annotated[
        str | None, _option(_STATIC, "regular expression of tokens to drop.")
    ] = None,
    prompt_name: Annotated[str | None, _option(_STATIC, "a prompt of the teacher's.")] = None,
    epochs: Annotated[int | None, _option(_TRAINED, "passes over the corpus at most.")] = None,
    time_budget: Annotated[
        float | None, _option(_TRAINED, "seconds of training at most.", metavar="SECONDS")
    ] = None,
    held_out: Annotated[
        float | None, _option(_TRAINED, "share of the corpus kept for the report (0.05).")
    ] = None,
    grow_words: Annotated[
        int | None, _option(_TUNED, "words of the corpus to add, at most.")
    ] = None,
    grow_pairs: Annotated[int | None, _option(_TUNED, "word pairs of it to add, at most.")] = None,
    matryoshka: Annotated[
        list[int] | None,
        _option(_TUNED, "a prefix to train, in dimensions; repeatable."),
    ] = None,
    layers: Annotated[
        int | None, _option(_SHALLOW, "layers of the teacher's that are kept.")
    ] = None,
    hidden_size: Annotated[int | None, _option(_SHALLOW, "width of the hidden layers.")] = None,
    vocabulary_clusters: Annotated[
        int | None, typer.Option(help="Quantize: rows that the table is clustered into.")
    ] = None,
    minimum_fidelity: Annotated[
        str | None,
        typer.Option(
            help="Fail below it: a mean cosine to the teacher, or such as"
            " mean_cosine=0.8,recall_at_10=0.4; there is similarity_spearman, too.",
            metavar="DEMAND",
        ),
    ] = None,
    budget_seconds: Annotated[float | None, typer.Option(help="Wall-clock seconds.")] = None,
    budget_memory_bytes: Annotated[int | None, typer.Option(help="Peak memory.")] = None,
    budget_result_bytes: Annotated[int | None, typer.Option(help="Size of the student.")] = None,
    budget_money: Annotated[
        float | None, typer.Option(help="US dollars.", metavar="DOLLARS")
    ] = None,
    description: Annotated[str | None, typer.Option(help="For people.")] = None,
    label: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="A label; repeatable.")
    ] = None,
    validate_only: Annotated[
        bool,
        typer.Option(
            "--validate-only", help="Check everything, show what it would take, make nothing."
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before long work.")] = False,
    wait: Annotated[bool, typer.Option(help="Wait until it is done, with progress.")] = True,
) -> None:
    """Distill a teacher into a small, fast student.

    Before work of more than a minute it says what that is expected to take, and asks.
    """
    given = dict(locals())
    from stillroom.cli import distill_inputs as inputs
    from stillroom.cli.agree import agree
    from stillroom.cli.launch import finish, show_estimate
    from stillroom.cli.report_view import show
    from stillroom.errors import FidelityTooLow

    with session.client() as client:
        request = client.distill_request(**inputs.arguments(session, client, given))
        if not validate_only:
            agree(session, client, request, yes)
        operation = client.start(request)
        try:
            response = finish(session, operation, wait)
        except FidelityTooLow as error:
            if error.report is not None and not session.json_output:
                show(session, error.report, [])
            raise
    if response is not None and not session.json_output:
        show(session, response.report, _made(response))
        if validate_only:
            show_estimate(session, response)


def _made(response: pb.DistillResponse) -> list[tuple[str, str]]:
    return [
        ("student", response.model_version.name or "none was made: everything checks out"),
        *([("made from", response.teacher_version)] if response.teacher_version else []),
    ]
