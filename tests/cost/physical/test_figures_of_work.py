"""What the physics say of well-known work, and of what cannot be known."""

from __future__ import annotations

import math
from typing import Any

import pytest
from cost.physical import models

from stillroom_registry.errors import InvalidArgument
from stillroom_server.cost.assumptions import Given, Source
from stillroom_server.cost.facts import ModelFacts, of_shape
from stillroom_server.cost.figures import Basis, Figure
from stillroom_server.cost.physical import memory
from stillroom_server.cost.physical.build import build
from stillroom_server.cost.physical.built import Built
from stillroom_server.cost.physical.phase import Phase
from stillroom_server.cost.physical.place import Accelerator, Place
from stillroom_server.cost.physical.speeds import Speeds
from stillroom_server.cost.tables import methods
from stillroom_server.cost.tables.paradigms import DeepLearning, Ensemble, FineTuning, Moe
from stillroom_server.cost.workloads import (
    DistillWork,
    ImportWork,
    ParadigmWork,
    ServeWork,
    TransferWork,
)

HOST = models.place(models.calibrated())


def phase(built: Built, name: str) -> Phase:
    return next(phase for phase in built.phases if phase.name == name)


def seconds(built: Built, place: Place = HOST) -> float:
    found = [each.wall(place.threads, place.contention).numbers()[1] for each in built.phases]
    return sum(found)


def test_forward_operations_are_two_for_each_weight_and_token_and_attention() -> None:
    facts = models.teacher()
    assert facts.flops(10, 10) == pytest.approx(2 * facts.multiplied * 10 + 4 * 6 * 10 * 384 * 10)
    # Known of all-MiniLM-L6-v2: 22.7 million parameters, 10.6 of them in its layers.
    assert facts.parameters == pytest.approx(22.6e6, rel=0.02)
    assert facts.multiplied == pytest.approx(10.6e6, rel=0.02)


def test_a_measured_line_is_calibrated_and_another_is_not() -> None:
    for rates, basis in ((models.calibrated(), Basis.CALIBRATED), (None, Basis.SPEC)):
        place = HOST if rates else models.place()
        assert phase(build(models.distill({"static": {}}), place), "encode").cpu.basis is basis


def test_a_slower_host_takes_about_as_many_times_longer() -> None:
    work = models.distill(texts=20_000.0)
    once, twice = (seconds(build(work, models.place(models.calibrated(f)))) for f in (1.0, 2.0))
    assert 1.8 * once < twice < 2.0 * once  # what follows the interpreter feels less of it


def test_threads_share_the_teachers_passes_and_contention_slows_cores() -> None:
    one, four = (
        phase(build(models.distill({"static": {}}), models.place(threads=n)), "encode")
        for n in (1, 4)
    )
    assert one.cpu == four.cpu
    assert four.wall(4, 1.0).numbers()[1] < 0.3 * one.wall(1, 1.0).numbers()[1]
    slowed = four.wall(4, 3.0).numbers()[1]
    waited = four.waiting.numbers()[1]
    assert slowed - waited == pytest.approx(3.0 * (four.wall(4, 1.0).numbers()[1] - waited))


def test_a_distillation_on_the_reference_machine_takes_what_it_took_there() -> None:
    # docs/performance.md: 21.7 s by itself, of which 17 in the teacher.
    built = build(models.distill({"static": {}}), HOST)
    assert phase(built, "encode").wall(2, 1.0).numbers()[1] == pytest.approx(17.0, rel=0.25)
    assert 15.0 < seconds(built) < 45.0


def test_an_accelerator_is_bound_by_the_slower_of_its_two_limits() -> None:
    flops, traffic = (Figure.exact(value, Basis.SPEC) for value in (1e15, 1e9))
    fast = Accelerator("x", 1e12, 1e12)
    assert fast.seconds(flops, traffic).numbers()[1] == pytest.approx(1e15 / 0.45e12)
    assert fast.seconds(traffic, flops).numbers()[1] == pytest.approx(1e15 / 0.7e12)
    unsaid = Accelerator("x", None, 1e12).seconds(flops, traffic)
    assert not unsaid.known
    assert "how fast x" in unsaid.note


def test_memory_on_an_accelerator_is_what_lies_there() -> None:
    gpu = models.place(accelerator=models.H100)
    cpu = phase(build(models.distill({"static": {}}), models.place()), "encode").memory
    own = phase(build(models.distill({"static": {}}), gpu), "encode").memory
    assert cpu.numbers()[1] > memory.RUNNER
    assert own.numbers()[1] == pytest.approx(memory.passes(gpu, models.teacher()), rel=1e-6)


def test_a_teacher_that_nobody_has_seen_leaves_the_rest_unknown() -> None:
    given = ImportWork("hub", name="t")
    work = DistillWork({"name": "s", "teacher_import": {}}, None, imported=given)
    built = build(work, HOST)
    assert not built.phases[-1].cpu.known
    assert built.phases[-1].cpu.note
    assert not built.outcome.result_bytes.known


def test_a_push_without_a_known_network_has_no_seconds_but_bytes() -> None:
    built = build(TransferWork("push", 5_000, 3), HOST)
    upload = phase(built, "upload")
    assert upload.network.numbers()[1] == 5_000
    assert not upload.wall(2, 1.0).known
    assert "network" in upload.waiting.note
    fast = Place(Speeds(models.calibrated()), 2, network=Figure.exact(1e3, Basis.MEASURED))
    sent = phase(build(TransferWork("push", 5_000, 3), fast), "upload")
    assert sent.wall(2, 1.0).numbers()[1] == pytest.approx(5.0, rel=0.01)


def test_a_pull_of_unknown_size_is_unknown() -> None:
    built = build(TransferWork("pull"), HOST)
    assert not phase(built, "fetch").network.known
    assert "total_bytes" in phase(built, "fetch").network.note


def test_time_limited_training_ends_when_it_is_told_to() -> None:
    whole = phase(build(models.distill({"static_tuned": {}}, texts=100_000.0), HOST), "train")
    cut = phase(
        build(
            models.distill({"static_tuned": {"time_budget_seconds": 5.0}}, texts=100_000.0),
            HOST,
        ),
        "train",
    )
    assert whole.wall(2, 1.0).numbers()[1] > 20.0
    assert max(cut.cpu.numbers()) <= 5.0 * 2
    assert cut.wall(2, 1.0).numbers()[2] < 7.0


def test_quality_rises_with_dimensions_texts_and_layers() -> None:
    def middle(built: Built) -> float:
        return built.outcome.quality.numbers()[1]

    def static(dimensions: int) -> float:
        return middle(build(models.distill({"static": {"dimensions": dimensions}}), HOST))

    assert static(32) < static(64) < static(256) < static(384)
    few, many = (
        middle(build(models.distill({"static_tuned": {}}, texts=n), HOST)) for n in (500.0, 5e4)
    )
    assert static(256) < few < many
    shallow, deep = (
        middle(build(models.distill({"transformer": {"layers": n}}, texts=5e4), HOST))
        for n in (1, 5)
    )
    assert shallow < deep
    assert build(models.distill(), HOST).outcome.quality.basis is Basis.TABLE


def test_more_dimensions_than_the_teachers_are_refused() -> None:
    with pytest.raises(InvalidArgument) as refused:
        build(models.distill({"static": {"dimensions": 500}}), HOST)
    assert refused.value.field == "static.dimensions"


def test_a_few_texts_are_a_whole_request() -> None:
    few = phase(build(models.embed(models.student(), 5, 10.0, 256), HOST), "embed").cpu
    line = models.calibrated().lines["student.embed"]
    assert few.numbers()[1] == pytest.approx(line.seconds(50.0))


def test_epochs_that_early_stopping_may_spare_are_an_assumption() -> None:
    def assumed(options: dict[str, Any]) -> set[str]:
        built = build(models.train(models.student(), 5_000.0, 6.0, options), HOST)
        return {each.name for each in built.assumptions}

    assert "epochs" in assumed({})
    assert "epochs" not in assumed({"max_epochs": 3, "early_stopping": {"disabled": True}})
    assert "epochs" not in assumed({"linear": {"solver": "LINEAR_SOLVER_LBFGS"}})


# ---- Serving ---------------------------------------------------------------


def test_replicas_are_whole_and_rise_with_the_peak() -> None:
    before = 0.0
    for peak in (1_000.0, 30_000.0, 1e6):
        serving = build(models.serve(models.student(), 500.0, peak), HOST).serving
        assert serving is not None
        for count in serving.replicas.numbers():
            assert count >= 1
            assert count == math.ceil(count)
        assert serving.replicas.numbers()[1] >= before
        before = serving.replicas.numbers()[1]
    assert before > 1


def test_a_busier_server_answers_later() -> None:
    found = []
    for rate in (1.0, 300.0, 700.0):
        serving = build(models.serve(models.student(), rate, rate), HOST).serving
        assert serving is not None
        low, middle, high = serving.utilization.numbers()
        assert 0.0 <= low <= middle <= high <= 1.0
        median = serving.median_latency_seconds.numbers()[1]
        tail = serving.p99_latency_seconds.numbers()[1]
        assert median <= tail
        found.append((middle, tail))
    assert found == sorted(found)
    assert found[0][1] < found[-1][1]


def test_serving_takes_the_time_that_it_is_asked_for() -> None:
    work = models.serve(models.student(), 10.0)
    built = build(work, HOST)
    assert built.elapsed is not None
    assert built.elapsed.numbers()[1] == 86_400.0
    assert built.phases[0].units.numbers()[1] == 864_000.0
    assert isinstance(work, ServeWork)


# ---- Paradigms -------------------------------------------------------------


def paradigm_work(paradigm: object, model: ModelFacts | None = None) -> ParadigmWork:
    return ParadigmWork(paradigm, model or models.teacher(12, 768), None, 1_000_000)


def test_lora_is_not_counted_as_full_training() -> None:
    full = build(paradigm_work(FineTuning(methods.Full())), HOST)
    lora = build(paradigm_work(FineTuning(methods.Lora(8))), HOST)
    quantized = build(paradigm_work(FineTuning(methods.Qlora(8, 4))), HOST)
    held = [built.phases[0].memory.numbers()[1] for built in (quantized, lora, full)]
    assert held == sorted(held)
    assert held[0] < held[1] < held[2]
    done = [built.phases[0].flops.numbers()[1] for built in (lora, full)]
    assert 0.6 < done[0] / done[1] < 0.8


def test_full_training_holds_weights_gradients_and_two_moments() -> None:
    facts = models.teacher(12, 768)
    alone = ParadigmWork(
        DeepLearning(), facts, None, 1_000, 1, Given(1, Source.REQUEST), Given(1, Source.REQUEST)
    )
    held = build(alone, models.place(accelerator=models.H100)).phases[0].memory.numbers()[1]
    assert held == pytest.approx(16.0 * facts.parameters, rel=0.02)


def test_activations_are_counted_and_grow_with_the_batch() -> None:
    def held(batch: int) -> float:
        work = ParadigmWork(
            DeepLearning(),
            models.teacher(12, 768),
            None,
            10_000,
            1,
            Given(512, Source.REQUEST),
            Given(batch, Source.REQUEST),
        )
        return build(work, HOST).phases[0].memory.numbers()[1]

    assert held(64) > 4.0 * held(8)


def test_an_ensemble_takes_as_many_times_as_it_has_members() -> None:
    one = build(paradigm_work(DeepLearning()), HOST).phases[0].flops.numbers()[1]
    five = build(paradigm_work(Ensemble(5)), HOST).phases[0].flops.numbers()[1]
    assert five == pytest.approx(5.0 * one)


def test_experts_that_a_token_does_not_use_cost_memory_only() -> None:
    few = build(paradigm_work(Moe(4, 2)), HOST).phases[0]
    many = build(paradigm_work(Moe(64, 2)), HOST).phases[0]
    assert many.flops == few.flops
    assert many.memory.numbers()[1] > 2.0 * few.memory.numbers()[1]


def test_a_paradigm_without_a_model_has_no_phases_and_is_not_run() -> None:
    built = build(ParadigmWork(DeepLearning()), HOST)
    assert built.phases == ()
    assert built.not_runnable
    assert built.outcome.quality.basis is Basis.TABLE


def test_a_rank_above_the_width_is_refused() -> None:
    with pytest.raises(InvalidArgument) as refused:
        build(paradigm_work(FineTuning(methods.Lora(999)), models.teacher(2, 64)), HOST)
    assert refused.value.field == "paradigm.fine_tuning.lora.rank"


@pytest.mark.parametrize(
    ("shape", "field"),
    [
        ({"vocabulary_size": 10}, "s.hidden_size"),
        ({"hidden_size": 10}, "s.vocabulary_size"),
        ({"hidden_size": 10, "vocabulary_size": 10, "layers": -1}, "s.layers"),
        ({"hidden_size": 10, "vocabulary_size": 10, "parameters": 99}, "s.parameters"),
        ({"hidden_size": 10, "vocabulary_size": 10, "parameters": 2**63}, "s.parameters"),
        ({"hidden_size": "ten", "vocabulary_size": 10}, "s.hidden_size"),
    ],
)
def test_bad_shapes(shape: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        of_shape(shape, "s")
    assert refused.value.field == field


def test_what_a_shape_leaves_open_is_an_assumption() -> None:
    facts = of_shape({"layers": 2, "hidden_size": 8, "vocabulary_size": 100}, "s")
    assert facts.assumed == ("intermediate_size", "parameters")
    assert facts.intermediate == 32
    assert of_shape({"hidden_size": 8, "vocabulary_size": 100}, "s").is_table
