"""Where work would run, who says so, and what seconds cost there."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillroom.v1 import cost_service_pb2 as pb
from stillroom_registry.errors import InvalidArgument, NotFound
from stillroom_server.cost.assumptions import Source
from stillroom_server.cost.devices.host import Accelerator, Host
from stillroom_server.cost.devices.known import Devices
from stillroom_server.cost.environment import CostDefaults, Environment
from stillroom_server.cost.figures import Basis, Figure
from stillroom_server.rpc.json_messages import from_json
from stillroom_server.settings import Settings, load

HOST = Host("Xeon", 4, 16_000, 9_000, accelerators=(Accelerator("cuda-0", "Tesla T4", 50, 40),))
NOTHING = CostDefaults()
SAID = CostDefaults(0.5, 1.2, "FRA", None, None, 20.0, 100.0)


def resolve(request=None, defaults=NOTHING, **more):
    devices = Devices(HOST, defaults.host_figures())
    return Environment.resolve(request, defaults, devices, **{"threads": 3, **more})


def assumed(environment):
    return {each.name: each for each in environment.assumptions}


def test_nothing_said_is_this_host_and_the_world():
    environment = resolve()
    assert environment.in_host
    assert (environment.device.name, environment.threads) == ("host", 3)
    assert environment.contention == 1
    assert environment.region == "WORLD"
    assert environment.carbon.p50 == 475
    assert environment.pue.p50 == 1
    assert environment.electricity is None
    assert environment.available_memory == 9_000
    assert not environment.price.known
    assert "cost_price_usd_per_hour" in environment.price.note
    assert not environment.network.known
    taken = assumed(environment)
    assert taken["region"].source is Source.DEFAULT
    assert taken["pue"].source is Source.DEFAULT
    assert taken["carbon_intensity_grams_per_kwh"].source is Source.SPEC
    assert taken["power_watts"].source is Source.SPEC


def test_settings_are_taken_and_say_so():
    environment = resolve(None, SAID)
    assert (environment.price.p50, environment.pue.p50, environment.region) == (0.5, 1.2, "FRA")
    assert environment.carbon.p50 == pytest.approx(56.0, abs=0.1)
    assert (environment.power.idle, environment.power.most) == (20, 100)
    assert environment.power.basis is Basis.MEASURED
    sources = {each.source for name, each in assumed(environment).items() if name != "contention"}
    assert sources == {Source.SETTING, Source.SPEC}  # SPEC: what a kilowatt-hour is in France
    own = resolve(None, CostDefaults(carbon_intensity=11.0, electricity_usd_per_kwh=0.3))
    assert (own.carbon.p50, own.region, own.electricity.p50) == (11, "", 0.3)


def test_the_request_beats_the_settings():
    asked = {
        "price_usd_per_hour": 2.0,
        "pue": 1.5,
        "carbon_intensity_grams_per_kwh": 10.0,
        "electricity_usd_per_kwh": 0.0,
        "threads": 4,
        "contention": 2.5,
        "network_bytes_per_second": 1e6,
    }
    environment = resolve(asked, SAID, load=9.0)
    assert environment.price == Figure.exact(2, Basis.MEASURED)
    assert (environment.pue.p50, environment.carbon.p50, environment.region) == (1.5, 10, "")
    assert environment.electricity.p50 == 0
    assert (environment.threads, environment.contention) == (4, 2.5)
    assert environment.network.p50 == 1e6
    taken = assumed(environment)
    assert {taken[name].source for name in asked} == {Source.REQUEST}
    assert resolve({"region": "DEU"}, CostDefaults(carbon_intensity=3.0)).region == "DEU"


def test_one_thread_finds_a_core_where_all_of_them_do_not():
    found = resolve(load=1.8, load_alone=1.1)
    assert (found.contention, found.alone) == (1.8, 1.1)
    assert resolve(load=1.8, load_alone=2.5).alone == 1.8
    assert resolve({"contention": 3.0}, load=1.8, load_alone=1.1).alone is None
    assert resolve({"device": "h100-sxm"}, load=1.8, load_alone=1.1).alone is None


def test_another_device_has_its_listed_price_and_no_load_of_this_host():
    environment = resolve({"device": "devices/h100-sxm"}, SAID, load=3.0)
    assert not environment.in_host
    assert environment.price == Figure.exact(6.88, Basis.SPEC)
    assert environment.contention == 1
    assert environment.available_memory == 80_000_000_000
    assert environment.threads == 1
    assert "us-east-1" in assumed(environment)["price_usd_per_hour"].note
    assert not resolve({"device": "rtx-4090"}, SAID).price.known
    assert resolve({"device": "epyc-7763"}).threads == 64


def test_this_hosts_accelerator():
    environment = resolve({"device": "host-cuda-0", "threads": 4}, SAID, load=3.0)
    assert (environment.price.p50, environment.available_memory) == (0.5, 40)
    assert environment.contention == 3
    assert environment.device.kind == "COST_DEVICE_KIND_GPU"


@pytest.mark.parametrize("load", [0.0, 0.3, 1.0])
def test_a_host_that_is_idle_is_not_faster_than_alone(load):
    assert resolve(load=load).contention == 1


def test_earlier_transfers_tell_the_network():
    seen = Figure.around(5e6, 0.5, 1.5, Basis.MEASURED)
    assert resolve({"network_bytes_per_second": 0}, network=seen).network == seen
    assert not resolve(network=Figure.unknown()).network.known


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        ({"price_usd_per_hour": -1}, "price_usd_per_hour"),
        ({"price_usd_per_hour": float("nan")}, "price_usd_per_hour"),
        ({"pue": 0.9}, "pue"),
        ({"pue": 10.5}, "pue"),
        ({"carbon_intensity_grams_per_kwh": -3}, "carbon_intensity_grams_per_kwh"),
        ({"carbon_intensity_grams_per_kwh": 5, "region": "FRA"}, "region"),
        ({"electricity_usd_per_kwh": -0.1}, "electricity_usd_per_kwh"),
        ({"threads": -1}, "threads"),
        ({"threads": 5}, "threads"),
        ({"threads": 65, "device": "epyc-7763"}, "threads"),
        ({"contention": 0.5}, "contention"),
        ({"contention": 1001}, "contention"),
        ({"contention": 0}, "contention"),
        ({"network_bytes_per_second": -1}, "network_bytes_per_second"),
        ({"network_bytes_per_second": float("inf")}, "network_bytes_per_second"),
    ],
)
def test_bad_requests_are_refused_on_their_field(request_, field):
    with pytest.raises(InvalidArgument) as caught:
        resolve(request_)
    assert caught.value.field == f"environment.{field}"


@pytest.mark.parametrize(
    ("request_", "metadata", "field"),
    [
        ({"device": "abacus"}, {"device": "abacus"}, "environment.device"),
        ({"region": "fra"}, {"region": "fra"}, "environment.region"),
    ],
)
def test_what_is_not_listed_is_not_found(request_, metadata, field):
    with pytest.raises(NotFound) as caught:
        resolve(request_)
    assert (caught.value.metadata, caught.value.field) == (metadata, field)


def exact(value):
    return Figure.exact(value, Basis.CALIBRATED)


def test_a_bill_by_hand():
    defaults = CostDefaults(3.6, 1.5, "", 400.0, 0.5, 20.0, 100.0)
    # 4 cores of which one is busy: 20 W + 80 W / 4
    bill = resolve(None, defaults).bill(exact(1000.0), exact(1000.0))
    assert bill.energy.p50 == pytest.approx(40_000)
    kwh = 40_000 * 1.5 / 3.6e6
    assert bill.co2e.p50 == pytest.approx(kwh * 400)
    assert bill.money.p50 == pytest.approx(1.0 + kwh * 0.5)
    assert bill.energy.p10 < bill.energy.p50 < bill.energy.p90
    assert bill.energy.basis is Basis.CALIBRATED
    assert "modelled" in bill.energy.note


def test_specified_watts_and_regions_weaken_a_bill():
    bill = resolve({"price_usd_per_hour": 1}).bill(exact(10), exact(10))
    assert (bill.energy.basis, bill.co2e.basis) == (Basis.SPEC, Basis.SPEC)
    assert bill.money.numbers() == pytest.approx((10 / 3600,) * 3)
    assert bill.money.basis is Basis.CALIBRATED
    assert "no PUE is known" in bill.co2e.note
    listed = resolve({"device": "aws-m8i-2xlarge"}).bill(exact(10), exact(10))
    assert listed.money.basis is Basis.SPEC


def test_the_less_is_known_of_watts_the_wider_is_energy():
    def ratio(environment):
        low, _, high = environment.bill(exact(10), exact(10)).energy.numbers()
        return high / low

    told, listed = resolve(None, SAID), resolve({"device": "aws-m8i-2xlarge"})
    assert 1 < ratio(told) < ratio(listed) < ratio(resolve())


def test_what_is_unknown_makes_a_bill_unknown_and_never_nothing():
    bill = resolve().bill(exact(10), exact(10))
    assert bill.energy.known
    assert not bill.money.known
    assert "nobody says what an hour" in bill.money.note
    no_watts = resolve({"device": "host-cuda-0"})
    assert no_watts.bill(exact(1), exact(1)).energy.known  # a T4
    for seconds in ((Figure.unknown("no rate"), exact(1)), (exact(1), Figure.unknown("no rate"))):
        bill = resolve(None, SAID).bill(*seconds)
        assert not bill.energy.known
        assert not bill.co2e.known
    assert not bill.money.known


def test_a_price_of_nothing_is_nothing_and_not_unknown():
    bill = resolve({"price_usd_per_hour": 0.0}).bill(exact(10), exact(10))
    assert bill.money.numbers() == (0, 0, 0)


def test_a_device_whose_watts_no_source_says():
    host = Host("x", 2, None, None, accelerators=(Accelerator("cuda-0", "Some GPU"),))
    environment = Environment.resolve({"device": "host-cuda-0"}, NOTHING, Devices(host), threads=1)
    assert environment.power is None
    assert not environment.bill(exact(1), exact(1)).energy.known


def test_a_busy_accelerator_draws_most_of_its_watts():
    bill = resolve({"device": "h100-sxm"}).bill(exact(0), exact(100))
    low, middle, high = bill.energy.numbers()
    assert (low, middle, high) == pytest.approx((28_000, 52_500, 70_000))


def test_an_unknown_idle_power_widens_energy():
    environment = resolve({"device": "epyc-7763"})
    low, middle, high = environment.bill(exact(640), exact(10)).energy.numbers()
    assert low < 280 * 10 < high  # all cores busy: the maximum, within what that may be off
    idle = environment.bill(exact(0), exact(10)).energy
    assert idle.p10 == 0
    assert idle.p90 >= 280 * 10
    assert middle > idle.p50


seconds = st.floats(0, 1e6)
environments = st.sampled_from(
    [
        {"price_usd_per_hour": 1.0},
        {"device": "h100-sxm"},
        {"device": "epyc-7763", "price_usd_per_hour": 1.0},
        {"device": "aws-m8i-2xlarge", "electricity_usd_per_kwh": 0.2},
    ]
)


@given(environments, seconds, seconds, st.floats(1, 100), st.floats(1, 100))
def test_a_bill_grows_with_seconds(request_, cpu, wall, more_cpu, more_wall):
    environment = resolve(request_, SAID)
    spread = (0.8, 1.4, Basis.CALIBRATED)
    less = environment.bill(Figure.around(cpu, *spread), Figure.around(wall, *spread))
    more = environment.bill(
        Figure.around(cpu * more_cpu, *spread), Figure.around(wall * more_wall, *spread)
    )
    for name in ("energy", "co2e", "money"):
        pairs = zip(getattr(less, name).numbers(), getattr(more, name).numbers(), strict=True)
        assert all(after >= before * (1 - 1e-9) - 1e-12 for before, after in pairs)


def test_defaults_are_a_message_of_the_protocol():
    told = from_json(SAID.to_json(2), pb.CostEnvironment())
    assert (told.device, told.threads, told.region) == ("devices/host", 2, "FRA")
    assert (told.price_usd_per_hour, told.pue) == (0.5, 1.2)
    assert not told.HasField("electricity_usd_per_kwh")
    assert NOTHING.to_json(1)["region"] == "WORLD"
    assert "region" not in CostDefaults(carbon_intensity=3.0).to_json(1)


def test_defaults_of_the_settings():
    settings = load(["--cost-region", "DEU", "--cost-max-power-watts", "90", "--cost-pue", "1.1"])
    defaults = CostDefaults.of(settings)
    assert defaults == CostDefaults(pue=1.1, region="DEU", max_power_watts=90)
    assert CostDefaults.of(Settings()) == NOTHING
    with pytest.raises(NotFound) as caught:
        CostDefaults.of(SimpleNamespace(cost_region="Mars"))
    assert caught.value.field == "cost_region"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--cost-pue", "0.5"],
        ["--cost-price-usd-per-hour", "-1"],
        ["--cost-price-usd-per-hour", "inf"],
        ["--cost-region", "FRA", "--cost-carbon-intensity", "50"],
        ["--cost-idle-power-watts", "5"],
        ["--cost-idle-power-watts", "50", "--cost-max-power-watts", "40"],
    ],
)
def test_bad_settings_are_refused(arguments):
    with pytest.raises(InvalidArgument) as caught:
        load(arguments)
    assert caught.value.reason == "BAD_SETTING"
