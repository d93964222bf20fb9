"""What a Distill request becomes, or why it is refused; nothing is distilled here."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from google.longrunning import operations_pb2

from rpc.estimating import LITTLE, Estimating, write_teacher
from stillroom.v1 import common_pb2, fidelity_pb2
from stillroom.v1 import distillation_service_pb2 as pb
from stillroom.v1 import operation_service_pb2 as operations
from stillroom_registry.errors import (
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    StillroomError,
)
from stillroom_registry.registry import Registry
from stillroom_registry.values import ModelKind
from stillroom_server.operations.store import OperationStore
from stillroom_server.rpc.distillation import DistillationServicer
from stillroom_server.rpc.launch import Launcher
from stillroom_server.rpc.operation_messages import OperationMessages
from stillroom_server.rpc.recipes import RECIPES
from stillroom_server.security.paths import AllowedRoots
from stillroom_server.uploads.model import UploadFormat, UploadHeader
from stillroom_server.uploads.store import UploadStore

NOW = datetime(2026, 1, 2, tzinfo=UTC)
FLOAT16, INT8 = common_pb2.ELEMENT_TYPE_FLOAT16, common_pb2.ELEMENT_TYPE_INT8
SIMILARITY = fidelity_pb2.EVALUATION_KIND_SIMILARITY
LABELS = fidelity_pb2.EVALUATION_KIND_LABELS
TUNED = pb.StaticTunedRecipe()
TEXTS = common_pb2.Corpus(texts=common_pb2.InlineTexts(values=["one text", "another"]))


class Front:
    """The servicer on a fresh data directory with a teacher ``t`` and a student ``s``; nothing
    runs what it queues."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.root.mkdir()
        (self.root / "c.txt").write_text("one\ntwo\n")
        write_teacher(self.root)
        self.registry = Registry.open(folder / "data")
        self.registry.publish("t", ModelKind.TEACHER, self.root)
        self.registry.publish("s", ModelKind.STUDENT, self.root)
        self.store = OperationStore(self.registry.database, lambda: NOW)
        self.uploads = UploadStore(
            folder / "data" / "uploads", clock=lambda: NOW, max_bytes=8 << 20
        )
        roots = AllowedRoots([self.root])
        messages = OperationMessages({})
        self.made = Estimating(self.registry, roots)
        self.made.estimator.takes = lambda _: LITTLE
        launcher = Launcher(
            self.registry, self.store, self.uploads, roots, messages, self.made.estimates
        )
        self._servicer = DistillationServicer(launcher)

    def ask(self, **fields: Any) -> operations_pb2.Operation:
        """Distills ``t`` into ``new`` unless the fields say something else."""
        given = {"teacher": "t", "name": "new", **fields}
        if "teacher_import" in given:
            del given["teacher"]
        request = pb.DistillRequest(**given)
        call: Any = None
        return asyncio.run(self._servicer.Distill(request, call))

    def stored(self, **fields: Any) -> dict[str, Any]:
        """The JSON of the operation that the request becomes."""
        operation = self.ask(**fields)
        return dict(self.store.get(operation.name.removeprefix("operations/")).request)

    def upload(self, data: bytes, *, tar: bool = False, whole: bool = True) -> str:
        """The name of an upload of ``data``."""
        kind = UploadFormat.TAR if tar else UploadFormat.FILE
        header = UploadHeader(total_bytes=len(data) + (not whole), format=kind)
        with self.uploads.begin(header) as writer:
            writer.write(data)
            return writer.finish().name if whole else writer.name

    @property
    def files(self) -> list[str]:
        """What the uploads hold."""
        names = (path for path in (self.uploads._root).iterdir())
        return sorted((path / "data").read_text() for path in names)


@pytest.fixture
def front(tmp_path: Path) -> Iterator[Front]:
    made = Front(tmp_path)
    yield made
    made.made.estimates.close()
    made.registry.close()


# Recipes


def test_auto_is_left_to_the_executor(front: Front) -> None:
    assert front.stored()["recipe"] == {"auto": {"seed": 0}}
    assert front.stored(auto=pb.AutoRecipe(seed=7))["recipe"] == {"auto": {"seed": 7}}
    assert front.stored(corpus=TEXTS)["recipe"] == {"auto": {"seed": 0}}


def test_every_field_of_a_tuned_recipe_is_kept(front: Front) -> None:
    recipe = pb.StaticTunedRecipe(
        static=pb.StaticRecipe(
            dimensions=64,
            sif_coefficient=0,
            pooling=common_pb2.POOLING_FIRST,
            add_words=["zymurgy"],
            remove_tokens=["the"],
            remove_pattern="",
            element_type=INT8,
            seed=3,
            prompt_name="query",
            max_tokens=99,
            normalize=False,
        ),
        max_epochs=4,
        time_budget_seconds=1.5,
        held_out=0.25,
        matryoshka_dimensions=[16, 32],
        grow_words=0,
        grow_pairs=12,
    )
    assert front.stored(static_tuned=recipe, corpus=TEXTS)["recipe"] == {
        "static_tuned": {
            "static": {
                "dimensions": 64,
                "sif_coefficient": None,
                "pooling": "cls",
                "add_words": ["zymurgy"],
                "remove_tokens": ["the"],
                "remove_pattern": None,
                "element_type": "int8",
                "seed": 3,
                "prompt_name": "query",
                "normalize": False,
                "max_tokens": 99,
            },
            "max_epochs": 4,
            "time_budget_seconds": 1.5,
            "held_out": 0.25,
            "matryoshka_dimensions": [16, 32],
            "grow_words": 0,
            "grow_pairs": 12,
        }
    }


def test_what_is_unset_is_the_servers_choice(front: Front) -> None:
    tuned = front.stored(static_tuned=TUNED, corpus=TEXTS)["recipe"]["static_tuned"]
    assert tuned["grow_words"] is tuned["grow_pairs"] is tuned["max_epochs"] is None
    assert (tuned["held_out"], tuned["matryoshka_dimensions"]) == (0.05, None)
    shallow = front.stored(transformer=pb.TransformerRecipe(), corpus=TEXTS)["recipe"]
    assert shallow["transformer"]["layers"] is None
    assert shallow["transformer"]["element_type"] is None


def test_every_field_of_a_transformer_recipe_is_kept(front: Front) -> None:
    given = {
        "layers": 3,
        "hidden_size": 64,
        "dimensions": 32,
        "max_epochs": 2,
        "time_budget_seconds": 60.0,
        "held_out": 0.1,
        "seed": 5,
        "max_tokens": 128,
    }
    recipe = pb.TransformerRecipe(element_type=FLOAT16, **given)  # type: ignore[arg-type]
    stored = front.stored(transformer=recipe, corpus=TEXTS)["recipe"]
    assert stored == {"transformer": {**given, "element_type": "float16"}}
    assert {field.name for field in pb.TransformerRecipe.DESCRIPTOR.fields} == set(
        stored["transformer"]
    )


def test_what_is_quantized_is_a_student(front: Front) -> None:
    recipe = pb.QuantizeRecipe(element_type=INT8, vocabulary_clusters=9, seed=2)
    stored = front.stored(teacher="s", quantize=recipe)
    assert stored["teacher"] == "models/s/versions/1"
    assert stored["recipe"] == {
        "quantize": {"element_type": "int8", "vocabulary_clusters": 9, "seed": 2}
    }


def test_every_recipe_of_the_protocol_is_read() -> None:
    fields = pb.DistillRequest.DESCRIPTOR.oneofs_by_name["recipe"].fields
    assert {field.name for field in fields} == set(RECIPES)


# Corpora


def test_corpora_by_reference(front: Front) -> None:
    def corpus(**source: Any) -> Any:
        return front.stored(corpus=common_pb2.Corpus(**source))["corpus"]

    name = front.upload(b"one\ntwo\n")
    assert corpus(path=str(front.root / "c.txt")) == {"path": str(front.root / "c.txt")}
    assert corpus(upload=name) == {"upload": name, "file": str(front.uploads.open(name))}
    dataset = common_pb2.HubDataset(repo="a/b", revision="main", split="test", column="body")
    assert corpus(dataset=dataset) == {
        "dataset": {"repo": "a/b", "revision": "main", "split": "test", "column": "body"}
    }
    bare = corpus(dataset=common_pb2.HubDataset(repo="a/b"))["dataset"]
    assert bare == {"repo": "a/b", "revision": None, "split": None, "column": None}


def inline(*texts: str) -> common_pb2.Corpus:
    return common_pb2.Corpus(texts=common_pb2.InlineTexts(values=texts))


def test_few_texts_stay_in_the_request(front: Front) -> None:
    stored = front.stored(corpus=inline("a\r\nb", "", "c"))
    assert stored["corpus"] == {"texts": ["a b", "", "c"]}
    assert front.files == []


def test_many_texts_become_an_upload(front: Front) -> None:
    texts = ["line\nbreak", *["é" * 1000] * 40]
    stored = front.stored(corpus=inline(*texts))["corpus"]
    assert stored.keys() == {"upload", "file"}
    expected = "line break\n" + ("é" * 1000 + "\n") * 40
    assert Path(stored["file"]).read_text() == expected
    assert front.uploads.get(stored["upload"]).complete


def test_the_same_request_again_leaves_no_second_upload(front: Front) -> None:
    fields = {"corpus": inline("x" * 70_000), "request_id": "again"}
    assert front.stored(**fields) == front.stored(**fields)
    assert len(front.files) == 1


def test_a_refused_request_leaves_no_upload(front: Front) -> None:
    broken = pb.EvaluationSet(name="e", kind=SIMILARITY)
    with pytest.raises(InvalidArgument):
        front.ask(corpus=inline("x" * 70_000), evaluations=[broken])
    with pytest.raises(InvalidArgument) as caught:
        front.ask(corpus=inline("x" * 70_000), request_id="r" * 300)
    assert caught.value.field == "request_id"
    assert front.files == []


def test_texts_beyond_the_room_for_uploads(front: Front) -> None:
    with pytest.raises(ResourceExhausted) as caught:
        front.ask(corpus=inline("x" * (9 << 20)))
    assert caught.value.field == "corpus.texts"


# Evaluations


def rows(count: int) -> pb.SimilarityPairs:
    pair = pb.SimilarityPair(similarity=0.1, first="a\tb\nc", second='"d"')
    return pb.SimilarityPairs(values=[pair] * count)


def labeled(*labels: str) -> pb.LabeledTexts:
    return pb.LabeledTexts(values=[pb.LabeledText(label=label, text="x\ty") for label in labels])


def test_evaluations(front: Front) -> None:
    file, name = str(front.root / "c.txt"), front.upload(b"1\ta\tb\n")
    given = [
        pb.EvaluationSet(name="sts", kind=SIMILARITY, path=file),
        pb.EvaluationSet(name="bank", kind=LABELS, upload=name, test_path=file),
        pb.EvaluationSet(name="mine", kind=SIMILARITY, pairs=rows(3)),
        pb.EvaluationSet(name="tone", kind=LABELS, labeled=labeled("a", "b", "a b")),
    ]
    sts, bank, mine, tone = front.stored(evaluations=given)["evaluations"]
    assert sts == {"name": "sts", "kind": "similarity", "source": {"path": file}}
    uploaded = {"upload": name, "file": str(front.uploads.open(name))}
    assert bank == {"name": "bank", "kind": "labels", "source": uploaded, "test": {"path": file}}
    assert Path(mine["source"]["file"]).read_text() == '0.1\ta b c\t"d"\n' * 3
    assert Path(tone["source"]["file"]).read_text() == "label\ttext\na\tx y\nb\tx y\na b\tx y\n"


def test_inline_rows_are_what_the_report_reads(front: Front) -> None:
    from stillroom_server.distillation.fidelity.evaluations.evaluate import read_evaluation

    pairs = rows(3)
    pairs.values[0].similarity = 0.5
    given = [
        pb.EvaluationSet(name="mine", kind=SIMILARITY, pairs=pairs),
        pb.EvaluationSet(name="tone", kind=LABELS, labeled=labeled("a", "b", "a", "b")),
    ]
    mine, tone = (
        read_evaluation(item["name"], item["kind"], Path(item["source"]["file"]))
        for item in front.stored(evaluations=given)["evaluations"]
    )
    assert (mine.kind, mine.data.first[0], mine.texts) == ("similarity", "a b c", 6)  # type: ignore[union-attr]
    assert (tone.kind, tone.texts) == ("labels", 4)


# Demands


def test_demands_are_kept(front: Front) -> None:
    stored = front.stored(
        minimum_fidelity=pb.MinimumFidelity(mean_cosine=0.0, recall_at_10=0.4),
        budget=common_pb2.Budget(seconds=1.5, memory_bytes=1 << 40),
        description="for people",
        labels={"a": "b"},
    )
    assert stored["minimum_fidelity"] == {"mean_cosine": 0.0, "recall_at_10": 0.4}
    assert stored["budget"] == {"seconds": 1.5, "memory_bytes": 1 << 40}
    assert (stored["description"], stored["labels"]) == ("for people", {"a": "b"})
    assert stored["name"] == "new"
    assert front.stored().keys() == {"teacher", "name", "description", "labels", "recipe"}


# Refusals


@pytest.mark.parametrize(
    ("fields", "kind", "field"),
    [
        ({"static": pb.StaticRecipe(), "corpus": TEXTS}, InvalidArgument, "corpus"),
        ({"static_tuned": TUNED}, InvalidArgument, "corpus"),
        ({"transformer": pb.TransformerRecipe()}, InvalidArgument, "corpus"),
        ({"teacher": "s"}, FailedPrecondition, "teacher"),
        ({"quantize": pb.QuantizeRecipe(element_type=INT8)}, FailedPrecondition, "teacher"),
        (
            {"teacher": "s", "quantize": pb.QuantizeRecipe(element_type=INT8), "corpus": TEXTS},
            *(InvalidArgument, "corpus"),
        ),
        (
            {
                "teacher_import": common_pb2.ModelSource(hub=common_pb2.HubSource(repo="a/b")),
                "quantize": pb.QuantizeRecipe(element_type=INT8),
            },
            *(InvalidArgument, "teacher_import"),
        ),
        (
            {"teacher": "s", "quantize": pb.QuantizeRecipe()},
            *(InvalidArgument, "quantize.element_type"),
        ),
        (
            {"quantize": pb.QuantizeRecipe(element_type=common_pb2.ELEMENT_TYPE_FLOAT32)},
            *(InvalidArgument, "quantize.element_type"),
        ),
        (
            {"quantize": pb.QuantizeRecipe(element_type=INT8, vocabulary_clusters=-1)},
            *(InvalidArgument, "quantize.vocabulary_clusters"),
        ),
        (
            {"static_tuned": pb.StaticTunedRecipe(static=pb.StaticRecipe(dimensions=-1))},
            *(InvalidArgument, "static_tuned.static.dimensions"),
        ),
        (
            {"static_tuned": pb.StaticTunedRecipe(static=pb.StaticRecipe(pooling=99))},  # type: ignore[arg-type]
            *(InvalidArgument, "static_tuned.static.pooling"),
        ),
        (
            {"static_tuned": pb.StaticTunedRecipe(max_epochs=-1)},
            *(InvalidArgument, "static_tuned.max_epochs"),
        ),
        (
            {"static_tuned": pb.StaticTunedRecipe(held_out=0.6)},
            *(InvalidArgument, "static_tuned.held_out"),
        ),
        (
            {"static_tuned": pb.StaticTunedRecipe(time_budget_seconds=float("nan"))},
            *(InvalidArgument, "static_tuned.time_budget_seconds"),
        ),
        (
            {"static_tuned": pb.StaticTunedRecipe(grow_words=-1)},
            *(InvalidArgument, "static_tuned.grow_words"),
        ),
        (
            {"static_tuned": pb.StaticTunedRecipe(matryoshka_dimensions=[64, 512])},
            *(InvalidArgument, "static_tuned.matryoshka_dimensions[1]"),
        ),
        (
            {"transformer": pb.TransformerRecipe(layers=-1)},
            *(InvalidArgument, "transformer.layers"),
        ),
        (
            {"transformer": pb.TransformerRecipe(element_type=common_pb2.ELEMENT_TYPE_BINARY)},
            *(InvalidArgument, "transformer.element_type"),
        ),
        ({"corpus": common_pb2.Corpus()}, InvalidArgument, "corpus"),
        ({"corpus": inline()}, InvalidArgument, "corpus.texts"),
        ({"corpus": inline("", " \n")}, InvalidArgument, "corpus.texts"),
        ({"corpus": common_pb2.Corpus(path="/etc/passwd")}, PermissionDenied, "corpus.path"),
        ({"corpus": common_pb2.Corpus(path="c.txt")}, InvalidArgument, "corpus.path"),
        ({"corpus": common_pb2.Corpus(path="ROOT")}, InvalidArgument, "corpus.path"),
        ({"corpus": common_pb2.Corpus(path="ROOT/gone")}, NotFound, "corpus.path"),
        ({"corpus": common_pb2.Corpus(upload="nonsense")}, InvalidArgument, "corpus.upload"),
        ({"corpus": common_pb2.Corpus(upload="uploads/" + "a" * 26)}, NotFound, "corpus.upload"),
        ({"corpus": common_pb2.Corpus(upload="TAR")}, InvalidArgument, "corpus.upload"),
        ({"corpus": common_pb2.Corpus(upload="PART")}, FailedPrecondition, "corpus.upload"),
        (
            {"corpus": common_pb2.Corpus(dataset=common_pb2.HubDataset(repo="nonsense"))},
            *(InvalidArgument, "corpus.dataset.repo"),
        ),
        (
            {
                "corpus": common_pb2.Corpus(
                    dataset=common_pb2.HubDataset(repo="a/b", split="s" * 300)
                )
            },
            *(InvalidArgument, "corpus.dataset.split"),
        ),
        (
            {"minimum_fidelity": pb.MinimumFidelity(mean_cosine=1.5)},
            *(InvalidArgument, "minimum_fidelity.mean_cosine"),
        ),
        (
            {"minimum_fidelity": pb.MinimumFidelity(recall_at_10=float("nan"))},
            *(InvalidArgument, "minimum_fidelity.recall_at_10"),
        ),
        ({"budget": common_pb2.Budget(seconds=0)}, InvalidArgument, "budget.seconds"),
        ({"budget": common_pb2.Budget(seconds=float("inf"))}, InvalidArgument, "budget.seconds"),
        ({"budget": common_pb2.Budget(memory_bytes=-1)}, InvalidArgument, "budget.memory_bytes"),
        ({"budget": common_pb2.Budget(result_bytes=0)}, InvalidArgument, "budget.result_bytes"),
        ({"budget": common_pb2.Budget(money_usd=-1)}, InvalidArgument, "budget.money_usd"),
        ({"evaluations": [pb.EvaluationSet()] * 17}, InvalidArgument, "evaluations"),
    ],
)
def test_refusals_name_the_field_and_make_nothing(
    front: Front, fields: dict[str, Any], kind: type[StillroomError], field: str
) -> None:
    fields = dict(fields)
    if "corpus" in fields:
        fields["corpus"] = placed(front, fields["corpus"])
    if fields.keys() & {"static_tuned", "transformer"} and field != "corpus":
        fields["corpus"] = TEXTS
    before = len(front.files)
    for validate_only in (False, True):
        with pytest.raises(StillroomError) as caught:
            front.ask(**fields, validate_only=validate_only)
        assert (type(caught.value), caught.value.field) == (kind, field)
    assert front.store.list().items == ()
    assert len(front.files) == before


def placed(front: Front, corpus: common_pb2.Corpus) -> common_pb2.Corpus:
    """``corpus`` with the words ROOT, TAR and PART as what the front has."""
    result = common_pb2.Corpus()
    result.CopyFrom(corpus)
    if corpus.path.startswith("ROOT"):
        result.path = corpus.path.replace("ROOT", str(front.root))
    if corpus.upload in ("TAR", "PART"):
        result.upload = front.upload(b"x", tar=corpus.upload == "TAR", whole=corpus.upload == "TAR")
    return result


@pytest.mark.parametrize(
    ("evaluation", "kind", "field"),
    [
        (pb.EvaluationSet(name="A b", kind=LABELS, path="/x"), InvalidArgument, "name"),
        (pb.EvaluationSet(name="a", kind=LABELS, path="/x"), InvalidArgument, "name"),
        (pb.EvaluationSet(name="b", path="/x"), InvalidArgument, "kind"),
        (pb.EvaluationSet(name="b", kind=9, path="/x"), InvalidArgument, "kind"),  # type: ignore[arg-type]
        (pb.EvaluationSet(name="b", kind=LABELS), InvalidArgument, ""),
        (pb.EvaluationSet(name="b", kind=LABELS, path="/x"), PermissionDenied, "path"),
        (pb.EvaluationSet(name="b", kind=LABELS, upload="x"), InvalidArgument, "upload"),
        (pb.EvaluationSet(name="b", kind=LABELS, pairs=rows(3)), InvalidArgument, "pairs"),
        (pb.EvaluationSet(name="b", kind=SIMILARITY, pairs=rows(2)), InvalidArgument, "pairs"),
        (
            pb.EvaluationSet(
                name="b",
                kind=SIMILARITY,
                pairs=pb.SimilarityPairs(values=[pb.SimilarityPair(similarity=float("nan"))]),
            ),
            *(InvalidArgument, "pairs[0].similarity"),
        ),
        (
            pb.EvaluationSet(name="b", kind=LABELS, labeled=labeled("a", "a\tb")),
            *(InvalidArgument, "labeled[1].label"),
        ),
        (
            pb.EvaluationSet(name="b", kind=LABELS, labeled=labeled("l" * 257)),
            *(InvalidArgument, "labeled[0].label"),
        ),
        (
            pb.EvaluationSet(name="b", kind=SIMILARITY, pairs=rows(3), test_path="/x"),
            *(InvalidArgument, "test_path"),
        ),
        (
            pb.EvaluationSet(
                name="b", kind=LABELS, labeled=labeled("a", "b", "c"), test_upload="x"
            ),
            *(InvalidArgument, "test_upload"),
        ),
    ],
)
def test_bad_evaluations_name_the_field(
    front: Front, evaluation: pb.EvaluationSet, kind: type[StillroomError], field: str
) -> None:
    good = pb.EvaluationSet(name="a", kind=SIMILARITY, pairs=rows(3))
    with pytest.raises(StillroomError) as caught:
        front.ask(evaluations=[good, evaluation])
    expected = f"evaluations[1].{field}" if field else "evaluations[1]"
    assert (type(caught.value), caught.value.field) == (kind, expected)
    assert front.files == []


# Only checked


def test_what_is_only_validated_makes_nothing(front: Front) -> None:
    answer = front.ask(
        validate_only=True,
        static_tuned=TUNED,
        corpus=inline("x" * 70_000),
        evaluations=[pb.EvaluationSet(name="e", kind=SIMILARITY, pairs=rows(3))],
        minimum_fidelity=pb.MinimumFidelity(mean_cosine=0.5),
        request_id="once",
    )
    response, metadata = pb.DistillResponse(), operations.OperationMetadata()
    assert answer.response.Unpack(response)
    assert answer.metadata.Unpack(metadata)
    assert (answer.done, answer.name) == (True, "")
    assert response.HasField("estimate")
    response.ClearField("estimate")
    assert response == pb.DistillResponse(teacher_version="models/t/versions/1")
    assert (metadata.kind, metadata.target) == ("distill", "models/new")
    assert metadata.state == operations.OPERATION_STATE_SUCCEEDED
    assert (front.store.list().items, front.files) == ((), [])
    with pytest.raises(NotFound):
        front.registry.get_model("new")
    assert front.ask(request_id="once").name  # the id was not used up


def test_uploads_of_an_unfinished_distillation_do_not_expire(front: Front) -> None:
    from stillroom_server.parts import _uploads_in_use

    corpus = front.stored(corpus=inline("x" * 70_000))["corpus"]["upload"]
    evaluation = pb.EvaluationSet(name="e", kind=LABELS, labeled=labeled("a", "b", "c"))
    listed = front.stored(evaluations=[evaluation])["evaluations"][0]["source"]["upload"]
    assert _uploads_in_use(front.store) == {corpus, listed}
    sweeper = UploadStore(
        front.uploads._root, max_bytes=1, in_use=lambda: _uploads_in_use(front.store)
    )
    late = NOW + timedelta(days=9)
    assert sweeper.expire(late) == []
    for operation in front.store.list().items:
        front.store.request_cancel(operation.id)
    assert set(sweeper.expire(late)) == {corpus, listed}
