"""Every cell and edge of the paradigm tables, against the source's own numbers."""
# ruff: noqa: RUF001 - the source writes an alpha

import math

import pytest

from stillroom.v1 import cost_service_pb2 as pb
from stillroom_registry.errors import InvalidArgument
from stillroom_server.cost.tables.estimate import table_of
from stillroom_server.cost.tables.methods import METHODS, Lora, Qlora
from stillroom_server.cost.tables.paradigms import PARADIGMS, Ensemble, FineTuning, Moe
from stillroom_server.cost.tables.reading import check_rank, read_paradigm
from stillroom_server.rpc.json_messages import from_json

# workload, display name, memory, speedup, quality, batch, needs pretrained, parameter-efficient
PARADIGM_ROWS = [
    ({"traditional_ml": {}}, "Traditional ML", 1.5, 10, 0.7, 10, False, False),
    ({"deep_learning": {}}, "Deep Learning", 4, 1, 1, 1, False, False),
    ({}, "Deep Learning", 4, 1, 1, 1, False, False),
    ({"distillation": {}}, "Knowledge Distillation", 5, 1.5, 0.85, 0.5, True, False),
    ({"moe": {}}, "Mixture of Experts", 2, 0.8, 1.05, 1.2, False, False),
    ({"ensemble": {}}, "Ensemble", 3, 0.5, 1.02, 0.3, False, False),
]
# method, display name, memory, speedup, quality, batch, trainable percent, reduction, efficient
METHOD_ROWS = [
    ({"lora": {"rank": 64, "alpha": 64}}, "LoRA(r=64, α=64)", 1.2, 2.5, 1, 2, 0.2, 100 / 64, True),
    ({"lora": {"rank": 8}}, "LoRA(r=8, α=8)", 1.2, 5 / 1.125, 0.98125, 2, 0.1, 12.5, True),
    (
        {"qlora": {"rank": 32, "bits": 4}},
        "QLoRA(r=32, 4-bit)",
        1.1,
        6,
        0.93,
        4,
        0.2,
        8 / 1.32,
        True,
    ),
    ({"adapter": {}}, "Adapter", 1.5, 4, 0.92, 1.5, 5, 10, True),
    ({"prefix": {}}, "Prefix", 1.3, 5, 0.88, 1.8, 1, 20, True),
    ({"ia3": {}}, "IA³", 1.1, 8, 0.9, 3, 0.01, 50, True),
    ({"full": {}}, "Full", 4, 2, 1, 1, 100, 1, False),
]


def values(table):
    return {name: part["value"] for name, part in table.items() if isinstance(part, dict)}


@pytest.mark.parametrize("row", PARADIGM_ROWS, ids=lambda row: row[1])
def test_every_paradigm(row):
    workload, display, memory, speedup, quality, batch, pretrained, efficient = row
    table = table_of(workload)
    assert table["display_name"] == display
    assert values(table) == {
        "memory_multiplier": memory,
        "training_speedup": speedup,
        "quality_retention": quality,
        "batch_size_multiplier": batch,
    }
    assert table["requires_pretrained"] is pretrained
    assert table["parameter_efficient"] is efficient
    assert "fine_tuning_method" not in table


@pytest.mark.parametrize("row", METHOD_ROWS, ids=lambda row: row[1])
def test_every_method_of_fine_tuning(row):
    given, display, memory, speedup, quality, batch, trainable, reduction, efficient = row
    table = table_of({"fine_tuning": given})
    assert table["paradigm"] == "PARADIGM_FINE_TUNING"
    assert table["fine_tuning_method"] == f"FINE_TUNING_METHOD_{next(iter(given)).upper()}"
    assert table["display_name"] == f"Fine-tuning ({display})"
    assert values(table) == pytest.approx(
        {
            "memory_multiplier": memory,
            "training_speedup": speedup,
            "quality_retention": quality,
            "batch_size_multiplier": batch,
            "trainable_parameters_percent": trainable,
            "memory_reduction_factor": reduction,
        },
        rel=1e-12,
    )
    assert table["requires_pretrained"] is True
    assert table["parameter_efficient"] is efficient


def test_the_enums_of_the_protocol_are_all_there():
    paradigms = {f"PARADIGM_{name.upper()}" for name in PARADIGMS}
    assert paradigms == set(pb.Paradigm.keys()) - {"PARADIGM_UNSPECIFIED"}
    methods = {f"FINE_TUNING_METHOD_{name.upper()}" for name in METHODS}
    assert methods == set(pb.FineTuningMethod.keys()) - {"FINE_TUNING_METHOD_UNSPECIFIED"}


@pytest.mark.parametrize(
    "workload", [row[0] for row in PARADIGM_ROWS] + [{"fine_tuning": row[0]} for row in METHOD_ROWS]
)
def test_a_table_is_a_message_of_the_protocol(workload):
    table = table_of(workload, reason="it was asked")
    message = from_json(table, pb.TableEstimate())
    assert message.memory_multiplier.value == table["memory_multiplier"]["value"]
    assert message.reason == "it was asked"
    for name in ("memory_multiplier", "training_speedup", "quality_retention"):
        figure = getattr(message, name)
        assert figure.baseline
        assert "entrenar 0.7.13" in figure.source


def test_quality_of_lora_is_whole_from_rank_13_on():
    quality = [Lora(rank).rules.quality_retention.value for rank in (12, 13, 64, 256)]
    assert quality[0] < 1
    assert quality[1:] == [1, 1, 1]


def test_lora_is_as_slow_as_training_from_scratch_at_rank_256_and_slower_beyond():
    assert Lora(256).rules.training_speedup.value == 1
    assert Lora(257).rules.training_speedup.value < 1


def test_the_two_rules_of_memory_contradict_each_other_above_rank_100_and_both_stand():
    table = table_of(FineTuning(Lora(128)))
    assert table["memory_reduction_factor"]["value"] == 100 / 128  # more than full fine-tuning
    assert table["memory_multiplier"]["value"] == 1.2  # far less than full fine-tuning's 4
    assert Lora(100).memory_reduction.value == 1


def test_trained_parameters_stop_growing_at_rank_16():
    assert [Lora(r).trainable_percent.value for r in (1, 8, 16, 500)] == [0.0125, 0.1, 0.2, 0.2]
    assert Qlora(16, 4).trainable_percent.value == 0.2


@pytest.mark.parametrize(("bits", "factor"), [(2, 16), (4, 8), (32, 1)])
def test_fewer_bits_take_less_memory(bits, factor):
    assert Qlora(1, bits).memory_reduction.value == pytest.approx(factor / 1.01)


def test_figures_that_depend_on_a_parameter_say_how():
    table = table_of(FineTuning(Lora(8)))
    assert table["training_speedup"]["formula"] == "5 / (1 + r / 64)"
    assert table["memory_reduction_factor"]["formula"] == "100 / max(r, 1)"
    assert "formula" not in table["memory_multiplier"]


@pytest.mark.parametrize(
    ("alpha", "shown"), [(None, "4"), (0.0, "0"), (0.5, "0.5"), (1e-7, "0.0000001"), (-2, "-2")]
)
def test_alpha_is_shown_without_an_exponent_and_is_the_rank_when_unset(alpha, shown):
    assert Lora(4, alpha).display_name == f"LoRA(r=4, α={shown})"


@pytest.mark.parametrize(
    ("method", "field"),
    [
        ({"lora": {}}, "lora.rank"),
        ({"lora": {"rank": -1}}, "lora.rank"),
        ({"lora": {"rank": 8, "alpha": math.nan}}, "lora.alpha"),
        ({"lora": {"rank": 8, "alpha": math.inf}}, "lora.alpha"),
        ({"qlora": {"rank": 0, "bits": 4}}, "qlora.rank"),
        ({"qlora": {"rank": 8}}, "qlora.bits"),
        ({"qlora": {"rank": 8, "bits": 1}}, "qlora.bits"),
        ({"qlora": {"rank": 8, "bits": 33}}, "qlora.bits"),
    ],
)
def test_a_bad_parameter_is_refused_on_its_field(method, field):
    with pytest.raises(InvalidArgument) as caught:
        table_of({"fine_tuning": method}, "workload.paradigm")
    assert caught.value.field == f"workload.paradigm.fine_tuning.{field}"


@pytest.mark.parametrize(
    ("workload", "field"),
    [
        ({"fine_tuning": {}}, "fine_tuning"),
        ({"moe": {"experts": -1}}, "moe.experts"),
        ({"moe": {"experts": 4, "active_experts": 5}}, "moe.active_experts"),
        ({"moe": {"active_experts": 9}}, "moe.active_experts"),
        ({"ensemble": {"members": -3}}, "ensemble.members"),
    ],
)
def test_a_bad_paradigm_is_refused_on_its_field(workload, field):
    with pytest.raises(InvalidArgument) as caught:
        read_paradigm(workload, "workload.paradigm")
    assert caught.value.field == f"workload.paradigm.{field}"


def test_a_rank_beyond_the_model_is_refused():
    paradigm = FineTuning(Lora(385))
    with pytest.raises(InvalidArgument, match="385") as caught:
        check_rank(paradigm, 384, "workload.paradigm")
    assert caught.value.field == "workload.paradigm.fine_tuning.lora.rank"
    check_rank(FineTuning(Lora(384)), 384, "workload.paradigm")
    check_rank(Moe(), 1, "")


def test_what_a_paradigm_leaves_open_is_an_assumption():
    assert (Moe().count, Moe().active, Ensemble().count) == (8, 2, 3)
    assert (Moe(experts=1).count, Moe(experts=1).active) == (1, 1)
    assert [each["name"] for each in Moe().assumptions()] == ["experts", "active_experts"]
    assert [each["value"] for each in Moe(experts=4).assumptions()] == ["2"]
    assert Moe(4, 2).assumptions() == []
    assert Ensemble(5).assumptions() == []
