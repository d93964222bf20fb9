"""What is recommended keeps every limit, is the best of what does, and says why."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillroom.v1 import common_pb2
from stillroom.v1 import cost_service_pb2 as pb
from stillroom_registry.errors import FailedPrecondition, InvalidArgument
from stillroom_server.classification.options import ClassifierOptions
from stillroom_server.cost.recommend import Options, candidates, rank
from stillroom_server.rpc import recipes
from stillroom_server.rpc.json_messages import from_json

ELEMENTS = set(common_pb2.ElementType.keys()) - {"ELEMENT_TYPE_UNSPECIFIED"}
DISTILL = {"distill": {"teacher": "mini", "corpus": {"upload": "uploads/1"}}}
TRAIN = {"train_classifier": {"encoder": "mini", "data": {"upload": "uploads/1"}}}


# ---- candidates ----


def named(found, kind):
    return [each[kind] for each in found if kind in each]


@pytest.mark.parametrize(
    "workload",
    [
        DISTILL,
        {"distill": {"teacher": "mini", "auto": {"seed": "7"}}},
        {"distill": {"teacher": "mini", "static": {"dimensions": 64}}},
        {"distill": {"teacher": "s", "quantize": {"vocabulary_clusters": 9}}},
        TRAIN,
        {"embed": {"model": "mini", "texts": 10}},
        {"serve": {"model": "mini", "texts_per_second": 10}},
        {"push": {"model": "mini"}},
        {"pull": {"name": "x"}},
        {"paradigm": {"tokens": 5}},
        {"paradigm": {"fine_tuning": {"lora": {"rank": 4}}}},
    ],
    ids=str,
)
def test_candidates_are_workloads_of_the_protocol_and_none_twice(workload):
    found = candidates(workload)
    assert found
    messages = []
    for candidate in found:
        message = from_json(candidate, pb.Workload())
        assert message.WhichOneof("kind")
        assert message not in messages
        messages.append(message)


def test_a_distillation_without_a_recipe_is_tried_in_every_recipe():
    found = named(candidates(DISTILL), "distill")
    tried = {recipes.name(from_json({"distill": each}, pb.Workload()).distill) for each in found}
    assert tried == {"static", "static_tuned", "transformer"}
    for each in found:
        assert each["teacher"] == "mini"
        assert ("corpus" in each) == ("static" not in each), "static has no use for one"
        recipes.recipe(from_json({"distill": each}, pb.Workload()).distill)  # checked as Distill
    sizes = {each["static"].get("dimensions") for each in found if "static" in each}
    assert sizes == {None, 256, 128, 64, 32}
    stored = {each["static"]["element_type"] for each in found if "static" in each}
    assert stored == {"ELEMENT_TYPE_FLOAT16", "ELEMENT_TYPE_INT8"}


def test_what_the_request_sets_stays():
    given_ = {"dimensions": 64, "seed": "5", "max_tokens": 9}
    found = named(candidates({"distill": {"teacher": "t", "static": given_}}), "distill")
    assert len(found) == 2
    for each in found:
        assert given_.items() <= each["static"].items()
    both = {"variance": 0.9, "element_type": "ELEMENT_TYPE_INT8"}
    [only] = named(candidates({"distill": {"teacher": "t", "static": both}}), "distill")
    assert only["static"] == both
    tuned = {"static": {"element_type": "ELEMENT_TYPE_INT8"}, "max_epochs": 3}
    for each in named(candidates({"distill": {"static_tuned": tuned}}), "distill"):
        assert each["static_tuned"]["max_epochs"] == 3
        assert each["static_tuned"]["static"]["element_type"] == "ELEMENT_TYPE_INT8"
    [kept] = named(
        candidates(
            {"distill": {"transformer": {"layers": 2, "element_type": "ELEMENT_TYPE_INT8"}}}
        ),
        "distill",
    )
    assert kept["transformer"]["layers"] == 2


def test_the_seed_of_auto_is_that_of_every_recipe():
    for each in named(candidates({"distill": {"auto": {"seed": "7"}}}), "distill"):
        assert "auto" not in each
        recipe = each.get("static") or each.get("transformer") or each["static_tuned"]["static"]
        assert recipe["seed"] == "7"


def test_candidates_leave_the_request_alone():
    workload = {"distill": {"teacher": "t", "auto": {"seed": "7"}, "corpus": {"upload": "u"}}}
    candidates(workload)
    assert workload == {
        "distill": {"teacher": "t", "auto": {"seed": "7"}, "corpus": {"upload": "u"}}
    }


def test_a_training_is_tried_as_asked_then_with_every_head_and_tuning():
    first, *found = named(candidates(TRAIN), "train_classifier")
    assert first == TRAIN["train_classifier"]
    assert len(found) == 2 * 3 * 2
    for each in found:
        message = from_json({"train_classifier": each}, pb.Workload()).train_classifier
        assert message.options.WhichOneof("head")
        ClassifierOptions.from_json(each["options"])  # checked as TrainClassifier does


def test_a_training_never_contradicts_itself():
    options = {
        "linear": {"solver": "LINEAR_SOLVER_LBFGS", "l2": 0.1},
        "ngrams": {"max_n": 3},
        "seed": "4",
    }
    request = {"encoder": "mini", "options": options}
    _, *found = named(candidates({"train_classifier": request}), "train_classifier")
    assert found
    for each in found:
        changed = each["options"]
        assert changed["linear"] == options["linear"]
        assert changed["encoder_tuning"]["mode"] == "ENCODER_TUNING_MODE_FROZEN"
        assert changed["ngrams"] == {"max_n": 3, "mode": "NGRAM_MODE_ON"}
        assert changed["seed"] == "4"
        ClassifierOptions.from_json(changed)


@pytest.mark.parametrize("workload", [DISTILL, TRAIN])
def test_paradigms_that_others_have_are_shown_last(workload):
    found = candidates(workload)
    kinds = [next(iter(each)) for each in found]
    first = kinds.index("paradigm")
    assert set(kinds[first:]) == {"paradigm"}
    shown = {next(iter(each)) for each in named(found, "paradigm")}
    assert shown == {"deep_learning", "fine_tuning", "moe", "ensemble"}


def test_an_unset_paradigm_is_tried_in_all_and_a_set_one_stays():
    asked = {"model": "mini", "tokens": 10}
    found = named(candidates({"paradigm": asked}), "paradigm")
    assert len(found) == 5 + 6
    assert all(asked.items() <= each.items() for each in found)
    moe = {"paradigm": {"moe": {"experts": 4}}}
    assert candidates(moe) == [moe]


def test_answers_may_be_of_any_type_where_none_is_asked_for():
    first, *found = named(candidates({"embed": {"model": "m", "texts": 1}}), "embed")
    assert "options" not in first  # float32
    rest = ELEMENTS - {"ELEMENT_TYPE_FLOAT32"}
    assert {each["options"]["element_type"] for each in found} == rest
    fixed = {"embed": {"model": "m", "options": {"element_type": "ELEMENT_TYPE_INT8"}}}
    assert candidates(fixed) == [fixed]


# ---- options ----


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"budget": {"seconds": 0}}, "budget.seconds"),
        ({"budget": {"memory_bytes": -1}}, "budget.memory_bytes"),
        ({"budget": {"result_bytes": "0"}}, "budget.result_bytes"),
        ({"budget": {"money_usd": math.nan}}, "budget.money_usd"),
        ({"minimum_quality": -0.1}, "minimum_quality"),
        ({"minimum_quality": 1.6}, "minimum_quality"),
        ({"maximum_latency_seconds": 0}, "maximum_latency_seconds"),
        ({"maximum_latency_seconds": math.inf}, "maximum_latency_seconds"),
        ({"objective": "FAME"}, "objective"),
        ({"max_candidates": -1}, "max_candidates"),
        ({"max_candidates": 101}, "max_candidates"),
    ],
)
def test_bad_options_are_refused_on_their_field(options, field):
    with pytest.raises(InvalidArgument) as caught:
        rank([], options)
    assert caught.value.field == f"recommend.{field}"


def test_options_of_the_protocol():
    given_ = {
        "budget": {"seconds": 5, "memory_bytes": "1000"},
        "minimum_quality": 0.0,
        "objective": "RECOMMENDATION_OBJECTIVE_UNSPECIFIED",
    }
    options = Options.from_json(given_)
    assert options.limits == {"seconds": 5, "memory_bytes": 1000, "minimum_quality": 0}
    assert (options.objective, options.max_candidates) == (None, 20)
    names = set(pb.RecommendationObjective.keys()) - {"RECOMMENDATION_OBJECTIVE_UNSPECIFIED"}
    for name in names:
        assert str(Options.from_json({"objective": name}).objective) == name


# ---- ranking ----


def figure(value, spread=1.2):
    if value is None:
        return {"basis": "COST_BASIS_UNKNOWN", "note": "nobody says"}
    return {
        "p10": value / spread,
        "p50": value,
        "p90": value * spread,
        "basis": "COST_BASIS_CALIBRATED",
    }


def way(name, seconds=1, money=1, quality=0.9, size=100, latency=0.001, memory=10, **more):
    estimate = {
        "kind": "distill",
        "title": name,
        "runnable": True,
        "physical": {
            "total": {
                "wall_seconds": figure(seconds),
                "money_usd": figure(money),
                "peak_memory_bytes": figure(memory),
                "energy_joules": figure(seconds),
            }
        },
        "outcome": {
            "result_bytes": figure(size),
            "quality": figure(quality, 1.05),
            "latency_seconds": figure(latency),
        },
        **more,
    }
    return {"distill": {"description": name}}, estimate, None


def titles(part):
    return [each.get("candidate", each)["estimate"]["title"] for each in part]


def test_the_cheapest_is_first_and_says_so():
    answer = rank([way("dear", money=3), way("cheap", money=1), way("middle", money=2)], {})
    assert titles(answer["ranked"]) == ["cheap", "middle", "dear"]
    assert answer["ranked"][0]["reason"] == "the least money of 3 that keep all limits"
    assert answer["ranked"][2]["reason"].startswith("3 times the money of the first")
    assert answer["objective"] == "RECOMMENDATION_OBJECTIVE_MONEY"
    assert "nearest_miss" not in answer
    assert answer["rejected"] == []


def test_without_any_price_the_shortest_is_first():
    answer = rank([way("slow", seconds=9, money=None), way("quick", seconds=2, money=None)], {})
    assert titles(answer["ranked"]) == ["quick", "slow"]
    assert answer["objective"] == "RECOMMENDATION_OBJECTIVE_SECONDS"


@pytest.mark.parametrize(
    ("objective", "best"),
    [
        ("MONEY", "money"),
        ("SECONDS", "seconds"),
        ("ENERGY", "seconds"),
        ("QUALITY", "quality"),
        ("RESULT_SIZE", "size"),
        ("LATENCY", "latency"),
    ],
)
def test_each_objective(objective, best):
    tried = [
        way("money", money=0.1),
        way("seconds", seconds=0.1),
        way("quality", quality=0.99),
        way("size", size=1),
        way("latency", latency=1e-6),
    ]
    answer = rank(tried, {"objective": f"RECOMMENDATION_OBJECTIVE_{objective}"})
    assert titles(answer["ranked"])[0] == best
    assert from_json(answer, pb.Recommendation()).objective != 0


def test_among_equals_money_then_seconds_then_memory():
    objective = {"objective": "RECOMMENDATION_OBJECTIVE_QUALITY"}
    tried = [
        way("memory", memory=20),
        way("seconds", seconds=2),
        way("money", money=2),
        way("best"),
    ]
    answer = rank(tried, objective)
    assert titles(answer["ranked"]) == ["best", "memory", "seconds", "money"]


def test_a_limit_is_judged_at_the_ninetieth_percentile():
    answer = rank([way("near", seconds=9), way("far", seconds=20)], {"budget": {"seconds": 10}})
    assert answer["ranked"] == []  # 9 * 1.2 is above 10
    assert titles(answer["rejected"]) == ["near", "far"]
    assert answer["nearest_miss"] == 0
    [rejection] = answer["rejected"][0]["rejections"]
    assert rejection["kind"] == "REJECTION_KIND_OVER_LIMIT"
    assert rejection["limit"]["ratio"] == pytest.approx(1.08)
    assert rejection["limit"]["verdict"] == "VERDICT_EXCEEDED"
    assert "one time in ten 10.8 s or more, where 10 s is allowed" in rejection["message"]
    assert rank([way("near", seconds=8)], {"budget": {"seconds": 10}})["ranked"]


def test_quality_is_judged_at_the_tenth_percentile():
    tried = [way("good", quality=0.95), way("fair", quality=0.9)]
    answer = rank(tried, {"minimum_quality": 0.88})
    assert titles(answer["ranked"]) == ["good"]
    limit = answer["rejected"][0]["rejections"][0]["limit"]
    assert limit["ratio"] == pytest.approx(0.88 / (0.9 / 1.05))


@pytest.mark.parametrize(
    ("options", "worse"),
    [
        ({"budget": {"memory_bytes": 15}}, {"memory": 14}),
        ({"budget": {"result_bytes": 150}}, {"size": 140}),
        ({"budget": {"money_usd": 1.5}}, {"money": 1.4}),
        ({"maximum_latency_seconds": 0.002}, {"latency": 0.0019}),
    ],
)
def test_every_other_limit(options, worse):
    answer = rank([way("worse", **worse), way("good")], options)
    assert titles(answer["ranked"]) == ["good"]
    assert titles(answer["rejected"]) == ["worse"]


def test_an_unknown_figure_keeps_no_limit():
    answer = rank([way("untold", money=None), way("known")], {"budget": {"money_usd": 5}})
    assert titles(answer["ranked"]) == ["known"]
    [rejection] = answer["rejected"][0]["rejections"]
    assert rejection["kind"] == "REJECTION_KIND_UNKNOWN_FIGURE"
    assert rejection["limit"]["verdict"] == "VERDICT_UNKNOWN"
    assert "ratio" not in rejection["limit"]
    assert "nobody says" in rejection["message"]
    alone = rank([way("untold", money=None)], {"budget": {"money_usd": 5}})
    assert "nearest_miss" not in alone  # nothing can be judged


def test_a_paradigm_that_the_server_lacks_is_never_recommended_however_good():
    table = {"quality_retention": {"value": 1.05}}
    moe = way("MoE", money=0.001, quality=1.4, table=table, runnable=False)
    moe[1]["not_runnable_reason"] = "this server trains no mixtures of experts"
    answer = rank([moe, way("over", money=9)], {"budget": {"money_usd": 2}})
    assert answer["ranked"] == []
    assert titles(answer["rejected"]) == ["over", "MoE"]
    assert answer["nearest_miss"] == 0
    [rejection] = answer["rejected"][1]["rejections"]
    assert rejection["kind"] == "REJECTION_KIND_NOT_RUNNABLE"
    assert "mixtures" in rejection["message"]
    assert not answer["rejected"][1]["candidate"]["on_frontier"]
    alone = rank([moe], {})
    assert (alone["ranked"], "nearest_miss" in alone) == ([], False)


def test_what_does_not_fit_is_rejected_and_its_miss_counts():
    big = way("big", memory=300, memory_fit={"verdict": "VERDICT_EXCEEDED", "available_bytes": 90})
    slow = way("slow", seconds=20)
    answer = rank([big, slow], {"budget": {"seconds": 12}})
    assert titles(answer["rejected"]) == ["slow", "big"]
    [rejection] = answer["rejected"][1]["rejections"]
    assert rejection["kind"] == "REJECTION_KIND_DOES_NOT_FIT"
    assert "360 bytes" in rejection["message"]


def test_the_workloads_own_budget_counts_too():
    check = {
        "limit": "seconds",
        "value": 1.0,
        "estimate": figure(5),
        "verdict": "VERDICT_EXCEEDED",
        "ratio": 6.0,
    }
    over = way("over", money=0.1, budget_check={"verdict": "VERDICT_EXCEEDED", "limits": [check]})
    answer = rank([over, way("within")], {})
    assert titles(answer["ranked"]) == ["within"]
    assert answer["rejected"][0]["rejections"][0]["limit"] == check


def test_ways_that_failed():
    workload = {"distill": {"static_tuned": {}}}
    missing = (workload, None, InvalidArgument("give a corpus", reason="CORPUS_REQUIRED"))
    wrong = ({"distill": {"static": {}}}, None, InvalidArgument("512 is more than 384"))
    never = ({"distill": {"transformer": {}}}, None, FailedPrecondition("it has no layers"))
    answer = rank([never, wrong, missing, way("good")], {})
    assert titles(answer["ranked"]) == ["good"]
    assert titles(answer["rejected"]) == ["STATIC_TUNED", "TRANSFORMER"]
    kinds = [each["rejections"][0]["kind"] for each in answer["rejected"]]
    assert kinds == ["REJECTION_KIND_MISSING_INPUT", "REJECTION_KIND_NOT_RUNNABLE"]
    assert answer["rejected"][0]["candidate"]["reason"] == "give a corpus"
    assert "nearest_miss" not in rank([never, missing], {})
    assert from_json(answer, pb.Recommendation()).rejected[1].candidate.estimate.runnable is False


def test_ranked_are_cut_and_rejected_are_not():
    many = [way(str(index), money=index + 1) for index in range(8)]
    answer = rank(many, {"max_candidates": 3, "budget": {"money_usd": 6.5}})
    assert titles(answer["ranked"]) == ["0", "1", "2"]
    assert titles(answer["rejected"]) == ["5", "6", "7"]


def test_the_frontier_is_what_nothing_else_is_better_than_in_all():
    tried = [
        way("cheap", money=1, quality=0.8),
        way("good", money=2, quality=0.9),
        way("dominated", money=3, quality=0.85),
        way("twin", money=1, quality=0.8),
    ]
    answer = rank(tried, {})
    frontier = {each["estimate"]["title"] for each in answer["ranked"] if each["on_frontier"]}
    assert frontier == {"cheap", "good", "twin"}


def test_reasons_say_what_is_better_about_the_others():
    tried = [way("cheap", money=1, quality=0.8), way("good", money=2, quality=0.9, size=50)]
    reason = rank(tried, {})["ranked"][1]["reason"]
    assert reason.startswith("2 times the money of the first; but better (quality 0.9")
    assert "smaller" in reason


def test_reasons_do_not_split_hairs():
    tried = [way("one", money=1), way("other", money=1.001, size=50)]
    assert rank(tried, {})["ranked"][1]["reason"] == "about the money of the first; but smaller"
    best = {"objective": "RECOMMENDATION_OBJECTIVE_QUALITY"}
    tried = [way("one"), way("other", money=2), way("worse", quality=0.5)]
    reasons = [each["reason"] for each in rank(tried, best)["ranked"]]
    assert reasons == [
        "the best quality of 3 that keep all limits",
        "about the quality of the first",
        "quality 0.5",
    ]


values = st.one_of(st.none(), st.floats(0.001, 1000))
ways = st.lists(
    st.builds(
        lambda seconds, money, quality, size, latency, runnable: way(
            "w", seconds, money, quality, size, latency, runnable=runnable
        ),
        values,
        values,
        st.one_of(st.none(), st.floats(0.1, 1.2)),
        values,
        values,
        st.booleans(),
    ),
    max_size=8,
)
limits = st.fixed_dictionaries(
    {},
    optional={
        "budget": st.fixed_dictionaries(
            {}, optional={"seconds": st.floats(0.01, 1000), "money_usd": st.floats(0.01, 1000)}
        ),
        "minimum_quality": st.floats(0, 1.5),
        "maximum_latency_seconds": st.floats(0.01, 1000),
        "objective": st.sampled_from(
            [f"RECOMMENDATION_OBJECTIVE_{name}" for name in ("MONEY", "SECONDS", "QUALITY")]
        ),
    },
)


def costs(estimate, priced):
    parts = {**estimate["physical"]["total"], **estimate["outcome"]}
    names = ("money_usd" if priced else "wall_seconds", "result_bytes", "latency_seconds")
    found = [parts[name].get("p50", math.inf) for name in names]
    return [*found, -parts["quality"].get("p50", -math.inf)]


@given(ways, limits)
def test_recommendations_hold_what_they_promise(tried, options):
    answer = rank(tried, options)
    from_json(answer, pb.Recommendation())
    assert len(answer["ranked"]) + len(answer["rejected"]) == len(tried)
    budget = options.get("budget", {})
    for each in answer["ranked"]:
        estimate = each["estimate"]
        total, outcome = estimate["physical"]["total"], estimate["outcome"]
        assert estimate["runnable"]
        assert total["wall_seconds"].get("p90", 0) <= budget.get("seconds", math.inf)
        if "money_usd" in budget:
            assert total["money_usd"]["p90"] <= budget["money_usd"]
        if "minimum_quality" in options:
            assert outcome["quality"]["p10"] >= options["minimum_quality"]
        if "maximum_latency_seconds" in options:
            assert outcome["latency_seconds"]["p90"] <= options["maximum_latency_seconds"]
    for each in answer["rejected"]:
        assert each["rejections"]
        assert each["candidate"]["estimate"]["runnable"] or each["rejections"][0]["kind"].endswith(
            "NOT_RUNNABLE"
        )
    order = {
        "MONEY": lambda estimate: estimate["physical"]["total"]["money_usd"].get("p50", math.inf),
        "SECONDS": lambda e: e["physical"]["total"]["wall_seconds"].get("p50", math.inf),
        "QUALITY": lambda e: -e["outcome"]["quality"].get("p50", -math.inf),
    }[answer["objective"].rpartition("_")[2]]
    ranked = [order(each["estimate"]) for each in answer["ranked"]]
    assert ranked == sorted(ranked)
    if "nearest_miss" in answer:
        assert not answer["ranked"]
        misses = [
            max(each["limit"]["ratio"] for each in rejected["rejections"])
            for rejected in answer["rejected"]
            if all(each["kind"].endswith("OVER_LIMIT") for each in rejected["rejections"])
        ]
        assert misses
        assert misses == sorted(misses)


@given(ways)
def test_the_frontier_dominates_all_others_and_nothing_dominates_it(tried):
    answer = rank(tried, {})
    running = [estimate for _, estimate, _ in tried if estimate["runnable"]]
    priced = any("p50" in each["physical"]["total"]["money_usd"] for each in running)
    for each in answer["ranked"]:
        mine = costs(each["estimate"], priced)
        beaten = any(
            all(a <= b for a, b in zip(other, mine, strict=True)) and other != mine
            for other in (costs(estimate, priced) for estimate in running)
        )
        assert each["on_frontier"] is not beaten
    if answer["ranked"]:
        assert any(each["on_frontier"] for each in answer["ranked"])
