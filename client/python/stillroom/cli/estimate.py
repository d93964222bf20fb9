"""``stillroom estimate``: what work would take, before it runs, and how right that was."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from stillroom.cli import estimate_operations
from stillroom.cli.estimate_options import estimating
from stillroom.cli.options import command, with_common
from stillroom.cli.session import Session

app = typer.Typer(
    help="What work would take: time, memory, energy, money. Starts nothing.",
    no_args_is_help=False,
)

Model = Annotated[str, typer.Argument(metavar="MODEL", help="name, name@3 or name@alias.")]
TokensPerText = Annotated[
    float | None, typer.Option(help="On average; assumed unless given.", metavar="COUNT")
]
# Of a paradigm's model, and of its training.
SHAPE: dict[str, Any] = {
    name: Annotated[int | None, typer.Option(help=f"Instead of --model: {text}", metavar="COUNT")]
    for name, text in {
        "layers": "its layers; 0: a table of token vectors.",
        "hidden_size": "its width.",
        "intermediate_size": "the width of its feed-forward layers.",
        "vocabulary_size": "its tokens.",
        "max_tokens": "the most tokens of a text.",
        "parameters": "all of its parameters.",
    }.items()
}
TRAINING: dict[str, Any] = {
    "model": Annotated[
        str | None, typer.Option(help="A registered model, whose shape is taken.", metavar="NAME")
    ],
    **SHAPE,
    "tokens": Annotated[int | None, typer.Option(help="Of an epoch.", metavar="COUNT")],
    "epochs": Annotated[int | None, typer.Option(help="Passes over them (1).", metavar="COUNT")],
    "sequence_length": Annotated[
        int | None, typer.Option(help="Tokens of a sequence (128).", metavar="COUNT")
    ],
    "batch_size": Annotated[
        int | None, typer.Option(help="Sequences of a step (32).", metavar="COUNT")
    ],
    "element_type": Annotated[
        str | None, typer.Option(help="Of the weights in training (float32).", metavar="TYPE")
    ],
}


def _group(
    context: typer.Context,
    common: dict[str, Any],
    accuracy: Annotated[
        bool, typer.Option("--accuracy", help="How right estimates were of what has run.")
    ] = False,
    kind: Annotated[
        str | None, typer.Option(help="With --accuracy: such as distill.", metavar="KIND")
    ] = None,
    operation: Annotated[
        str | None, typer.Option(help="With --accuracy: of this one.", metavar="NAME")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(help="With --accuracy: ended then or later.", metavar="YYYY-MM-DD[THH:MM]"),
    ] = None,
    entries: Annotated[
        int, typer.Option(min=0, help="With --accuracy: so many jobs, newest first.")
    ] = 0,
) -> None:
    context.obj = {**(context.obj or {}), **common}
    if context.invoked_subcommand is not None:
        return
    if not accuracy:
        typer.echo(context.get_help())
        raise typer.Exit(2)
    from stillroom.cli import estimate_accuracy

    merged = dict(context.obj)
    session = Session(bool(merged.pop("json_output", False)), merged)
    with session.exiting():
        estimate_accuracy.show(session, kind, operation, since, entries)


app.callback(invoke_without_command=True)(with_common(_group, own=0))
estimate_operations.register(app)


def _embed(
    model: Model,
    texts: Annotated[int, typer.Option(help="So many.", metavar="COUNT")],
    tokens_per_text: TokensPerText = None,
    texts_per_request: Annotated[
        int | None, typer.Option(help="Of a request or stream item (256).", metavar="COUNT")
    ] = None,
) -> Any:
    """Texts to embed, or with a classifier to classify, once."""
    from stillroom import workloads

    return workloads.embed(
        model, texts, tokens_per_text=tokens_per_text, texts_per_request=texts_per_request
    )


def _serve(
    model: Model,
    rate: Annotated[float, typer.Option(help="Texts a second on average.", metavar="COUNT")],
    peak: Annotated[
        float | None, typer.Option(help="At the most (three times that).", metavar="COUNT")
    ] = None,
    days: Annotated[float | None, typer.Option(help="For so long (30).", metavar="DAYS")] = None,
    tokens_per_text: TokensPerText = None,
    texts_per_request: Annotated[
        int | None, typer.Option(help="Of a request (1).", metavar="COUNT")
    ] = None,
) -> Any:
    """A rate of texts to serve for a time."""
    from stillroom import workloads

    return workloads.serve(
        model,
        rate,
        peak_texts_per_second=peak,
        duration_seconds=None if days is None else days * 86400,
        tokens_per_text=tokens_per_text,
        texts_per_request=texts_per_request,
    )


def _push(
    name: Model,
    repo: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="On the Hub.")],
) -> Any:
    """A version to publish on the Hub. Give --network, unless earlier transfers told."""
    from stillroom import workloads

    return workloads.push(name, repo)


def _pull(
    repo: Annotated[str, typer.Argument(metavar="OWNER/NAME[@REVISION]", help="On the Hub.")],
) -> Any:
    """A repository of the Hub to pull. Nobody asks the Hub: give --total-bytes and --network."""
    from stillroom import workloads

    name, _, revision = repo.partition("@")
    return workloads.pull(name, revision=revision or None)


def _training(paradigm: str, given: dict[str, Any]) -> Any:
    from stillroom import workloads

    shape = {key: given.pop(key) for key in SHAPE if key in given}
    known = {key: value for key, value in shape.items() if value is not None}
    return workloads.paradigm(paradigm, shape=known or None, **given)


def _fine_tune(
    method: Annotated[
        str, typer.Argument(metavar="METHOD", help="lora, qlora, adapter, prefix, ia3 or full.")
    ],
    rank: Annotated[int | None, typer.Option(help="Of lora and qlora.")] = None,
    alpha: Annotated[float | None, typer.Option(help="Of lora (the rank).")] = None,
    bits: Annotated[int | None, typer.Option(help="Of qlora: of a weight of the base.")] = None,
    **given: Any,
) -> Any:
    """Training a pretrained model further; most methods no Stillroom runs, and it says so."""
    own = {"rank": rank, "alpha": alpha, "bits": bits}
    return _training("fine_tuning", {"method": method, **own, **given})


def _paradigm(
    paradigm: Annotated[
        str,
        typer.Argument(
            metavar="PARADIGM",
            help="traditional-ml, deep-learning, distillation, moe or ensemble.",
        ),
    ],
    teacher: Annotated[
        str | None, typer.Option(help="Of distillation: a registered one.", metavar="NAME")
    ] = None,
    experts: Annotated[int | None, typer.Option(help="Of moe (8).")] = None,
    active_experts: Annotated[
        int | None, typer.Option(help="Of moe: that a token uses (2).")
    ] = None,
    members: Annotated[int | None, typer.Option(help="Of ensemble (3).")] = None,
    **given: Any,
) -> Any:
    """Training in a paradigm, for comparison; without a model, by rules of thumb alone."""
    own = {"experts": experts, "active_experts": active_experts, "members": members}
    return _training(paradigm, {"teacher": teacher, **own, **given})


@command(app, "devices")
def devices(session: Session) -> None:
    """List what can be estimated for, with sources and dates, and regions of electricity."""
    from stillroom.cli import estimate_devices

    estimate_devices.show(session)


command(app, "embed")(estimating(_embed))
command(app, "serve")(estimating(_serve))
command(app, "push")(estimating(_push))
command(app, "pull")(estimating(_pull, data=True))
command(app, "fine-tune")(estimating(_fine_tune, more=TRAINING))
command(app, "paradigm")(estimating(_paradigm, more=TRAINING))
