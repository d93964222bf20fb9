"""Students out of teachers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Unpack

from stillroom._core import Core
from stillroom._flows import recipes, texts
from stillroom._flows.recipes import DistillOptions, Recipe
from stillroom._flows.starting import starting
from stillroom._flows.texts import Evaluation, Texts
from stillroom._progress import Progress
from stillroom._protocol import rpcs
from stillroom._protocol.messages import build, from_mapping
from stillroom.v1 import common_pb2
from stillroom.v1 import distillation_service_pb2 as pb


async def distill_request(
    core: Core,
    teacher: str | common_pb2.ModelSource,
    name: str,
    *,
    recipe: str | Recipe | None = None,
    teacher_name: str | None = None,
    corpus: Texts | None = None,
    evaluations: Mapping[str, Evaluation] | Iterable[pb.EvaluationSet] | None = None,
    minimum_fidelity: float | Mapping[str, float] | pb.MinimumFidelity | None = None,
    budget: Mapping[str, float] | common_pb2.Budget | None = None,
    validate_only: bool = False,
    description: str | None = None,
    labels: Mapping[str, str] | None = None,
    progress: Progress = False,
    request_id: str | None = None,
    **options: Unpack[DistillOptions],
) -> pb.DistillRequest:
    """What ``distill`` sends when it is called in the same way: a message for ``estimate_cost`` and
    ``start``. What is on this machine is uploaded for it, nothing is started. ``name`` may be empty
    where it is only estimated. Raises InvalidArgument (``field`` names what is wrong)."""
    chosen = recipes.make(recipe, options, has_corpus=corpus is not None)
    demands = _minimum(minimum_fidelity)
    limits = from_mapping(common_pb2.Budget, budget, "budget")
    is_source = isinstance(teacher, common_pb2.ModelSource)
    request = build(
        pb.DistillRequest,
        name=name,
        teacher=None if is_source else teacher,
        teacher_import=teacher if is_source else None,
        teacher_name=teacher_name,
        minimum_fidelity=demands,
        budget=limits,
        validate_only=validate_only,
        description=description,
        labels=labels,
        request_id=request_id or core.new_id(),
        **chosen,
    )
    # Last, as these may upload files: everything else has been found to be in order.
    sent = await texts.as_corpus(core, corpus, progress)
    if sent is not None:
        request.corpus.CopyFrom(sent)
    request.evaluations.extend(await texts.as_evaluations(core, evaluations, progress) or ())
    return request


distill = starting(
    distill_request,
    rpcs.DISTILL,
    pb.DistillResponse,
    """Distills ``teacher`` into a student that is registered as a new version of ``name``; answers
    the operation that does it.

    ``teacher`` is a registered teacher (``name``, ``name@3``, ``name@alias``), or a ModelSource
    (see ``model_source``), which is imported first, as ``teacher_name``. ``recipe`` is "auto",
    "static", "static_tuned", "transformer" or "quantize" (``teacher`` is then a student), with
    keyword options as in ``stillroom.DistillOptions``; or a recipe message, which excludes them.
    With neither, the server chooses; with options alone it is static_tuned where there is a corpus,
    else static.

    ``corpus`` is a list of texts, a ``Path`` of a UTF-8 file on this machine with one text a line
    (uploaded, with ``progress``), or a Corpus (see ``corpus_source``). ``evaluations`` are data
    with known answers by name: a ``Path`` of a CSV or TSV file (uploaded) with rows of score,
    sentence, sentence or with the columns text and label; two of the latter, to train and to test
    on; rows ``(score, text, text)`` or ``(label, text)``; or an EvaluationSet.

    ``minimum_fidelity`` is a mean cosine or a dict of mean_cosine, similarity_spearman and
    recall_at_10; a student below it ends the operation with FidelityTooLow, whose ``report`` says
    by how much. ``budget`` is a dict of seconds, memory_bytes, result_bytes and money_usd.
    ``validate_only`` checks everything and answers a finished operation with an estimate and
    without a student.

    Raises InvalidArgument (``field`` names what is wrong), NotFound (the teacher, an upload),
    PermissionDenied, FailedPrecondition (the named model is no teacher, or ``name`` is no student),
    BudgetExceeded (its ``estimate`` says what it would take).
    """,
)


def _minimum(
    given: float | Mapping[str, float] | pb.MinimumFidelity | None,
) -> pb.MinimumFidelity | None:
    if isinstance(given, int | float):
        return build(pb.MinimumFidelity, mean_cosine=given)
    return from_mapping(pb.MinimumFidelity, given, "minimum_fidelity")
