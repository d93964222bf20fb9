"""What is known of devices, where it is from, and what this host is."""

import re
from datetime import date

import pytest

from stillroom.v1 import cost_service_pb2 as pb
from stillroom_registry.errors import InvalidArgument, NotFound
from stillroom_server.cost.devices.catalogue import CATALOGUE
from stillroom_server.cost.devices.host import Accelerator, Host, probe_host
from stillroom_server.cost.devices.known import Devices, HostFigures
from stillroom_server.cost.devices.regions import find_region, regions
from stillroom_server.cost.devices.values import DeviceKind, NumberFormat
from stillroom_server.cost.figures import Basis
from stillroom_server.rpc.json_messages import from_json

HOST = Host("Xeon @ 2.50GHz", 4, 16_000_000_000, 9_000_000_000, "2026-11-22")
_FP32, _BF16, _FP16, _INT8 = (
    NumberFormat.FP32,
    NumberFormat.BF16,
    NumberFormat.FP16,
    NumberFormat.INT8,
)

# GB, GB/s, teraoperations of float32, bfloat16, float16 and int8, watts, US dollars an hour
REFERENCE = {
    "aws-m8i-2xlarge": (32, None, None, None, None, None, 28, [0.423]),
    "xeon-8480": (None, None, 1.3, None, None, None, 350, []),
    "epyc-7763": (None, 204.8, 2.4, None, None, None, 280, []),
    "epyc-9654": (None, 460.8, 5, None, None, None, 360, []),
    "t4": (16, 320, 8.1, None, 65, 130, 70, [0.526]),
    "v100-sxm": (16, 900, 15.7, None, 125, None, 300, [3.06]),
    "l4": (24, 300, 30.3, 121, None, 242, 72, [0.978]),
    "a10g": (24, 600, 31.2, 70, None, 140, 150, [1.624]),
    "l40s": (48, 864, 91.6, 362, None, 733, 350, [1.548]),
    "a100-40gb": (40, 1555, 19.5, 312, 312, 624, 400, [2.745]),
    "a100-80gb": (80, 2039, 19.5, 312, 312, 624, 400, [3.431]),
    "h100-sxm": (80, 3350, 67, 989, None, 1979, 700, [6.88, 2.95]),
    "h200": (141, 4800, 67, 989, None, None, 700, [3.5]),
    "b200": (192, 8000, 80, 2250, None, 4500, 1000, [6.99, 5.5]),
    "rtx-4090": (24, 1008, 82.6, None, None, None, 450, []),
    "apple-m1": (16, 68.25, 2.6, None, None, None, 10, []),
    "apple-m4-max": (128, 546, None, None, None, None, 55, []),
}


def test_every_device_of_the_reference_is_there_and_no_other():
    assert {device.name for device in CATALOGUE} == set(REFERENCE)
    assert [device.name for device in CATALOGUE] == sorted(REFERENCE)


@pytest.mark.parametrize("device", CATALOGUE, ids=lambda device: device.name)
def test_the_figures_of_a_device(device):
    def value(sourced, unit):
        return None if sourced is None else pytest.approx(sourced.value / unit)

    gigabytes, bandwidth, fp32, bf16, fp16, int8, watts, prices = REFERENCE[device.name]
    assert gigabytes == value(device.memory, 1e9)
    assert bandwidth == value(device.bandwidth, 1e9)
    for number, expected in ((_FP32, fp32), (_BF16, bf16), (_FP16, fp16), (_INT8, int8)):
        peak = device.peak(number)
        assert expected == value(peak and peak.rate, 1e12), number
    assert watts == value(device.max_power_watts[0] if device.max_power_watts else None, 1)
    assert [price.value for price in device.price_usd_per_hour] == prices


@pytest.mark.parametrize("device", CATALOGUE, ids=lambda device: device.name)
def test_every_figure_says_who_says_so_and_is_above_zero(device):
    figures = [
        *(device.memory_bytes + device.memory_bandwidth + device.price_usd_per_hour),
        *(device.max_power_watts + device.idle_power_watts),
        *(peak.rate for peak in device.peaks),
    ]
    for figure in figures:
        assert figure.value > 0
        assert figure.source
        assert figure.basis is Basis.SPEC
        if figure.date:
            date.fromisoformat(figure.date)
    for price in device.price_usd_per_hour:
        assert price.note, "which region"


def test_estimates_take_a_dense_peak_and_not_what_vendors_count_with_zeros():
    h100 = next(device for device in CATALOGUE if device.name == "h100-sxm")
    assert [peak.sparse for peak in h100.peaks if peak.format is _BF16] == [False, True]
    assert h100.peak(_BF16).rate.value == 989e12
    assert h100.peak(_FP32).rate.value == 67e12
    assert not h100.peak(_FP32).matrix_units
    assert h100.peak(NumberFormat.FP8, _BF16).format is _BF16
    assert h100.peak(NumberFormat.FP8) is None


def test_where_sources_differ_each_is_told():
    a10g = next(device for device in CATALOGUE if device.name == "a10g")
    both = [peak.rate for peak in a10g.peaks if peak.format is _BF16]
    assert [rate.value / 1e12 for rate in both] == [70, 125]
    assert both[0].source != both[1].source


def test_devices_are_messages_of_the_protocol():
    page = Devices(HOST).page()
    answer = from_json(page.to_json({"region": "WORLD"}), pb.ListDevicesResponse())
    assert answer.devices[0].name == "devices/host"
    assert answer.defaults.region == "WORLD"
    assert {"WORLD", "USA", "FRA", "DEU"} <= {region.name for region in answer.regions}
    for device in answer.devices:
        assert device.name.startswith("devices/")
        assert device.kind != pb.COST_DEVICE_KIND_UNSPECIFIED
        for peak in device.peak_rates:
            assert peak.format != pb.NUMBER_FORMAT_UNSPECIFIED
    assert set(pb.NumberFormat.keys()) - {"NUMBER_FORMAT_UNSPECIFIED"} == set(NumberFormat)
    assert set(pb.CostDeviceKind.keys()) - {"COST_DEVICE_KIND_UNSPECIFIED"} == set(DeviceKind)


def test_pages_are_whole_and_regions_stand_on_the_first():
    devices = Devices(HOST)
    names, token, pages = [], "", 0
    while pages == 0 or token:
        page = devices.page(5, token)
        told = page.to_json()
        assert ("regions" in told) == ("defaults" in told) == (pages == 0)
        names += [device["name"] for device in told["devices"]]
        token, pages = page.next_page_token, pages + 1
    assert names == [device.full_name for device in devices.all]
    assert pages == 4
    assert names[0] == "devices/host"
    assert names[1:] == sorted(names[1:])


def test_bad_pages():
    devices = Devices(HOST)
    with pytest.raises(InvalidArgument) as caught:
        devices.page(-1)
    assert caught.value.field == "page_size"
    gone = Devices(Host("", 1, None, None, accelerators=(Accelerator("cuda-0", "x"),))).page(2)
    for token in ("nonsense", gone.next_page_token):
        with pytest.raises(InvalidArgument) as caught:
            devices.page(5, token)
        assert caught.value.field == "page_token"


def test_a_device_is_found_by_either_name():
    devices = Devices(HOST)
    assert devices.find("").name == devices.find("host").name == "host"
    assert devices.find("devices/h100-sxm") is devices.find("h100-sxm")
    with pytest.raises(NotFound) as caught:
        devices.find("devices/abacus")
    assert caught.value.metadata == {"device": "devices/abacus"}
    assert caught.value.field == "environment.device"


def test_this_host_tells_what_was_measured_and_what_was_said():
    host = Devices(HOST, HostFigures(0.2, 40, 120, 9e9)).find("host")
    assert host.in_host
    assert host.cores == 4
    assert host.memory.value == 16e9
    assert host.memory.basis is Basis.MEASURED
    assert host.memory.date == "2026-11-22"
    assert host.bandwidth.value == 9e9
    assert [host.idle_power_watts[0].value, host.max_power_watts[0].value] == [40, 120]
    assert host.price_usd_per_hour[0].value == 0.2
    assert "Xeon" in host.display_name


def test_watts_that_nobody_says_are_an_average_of_cores():
    host = Devices(HOST).find("host")
    assert host.max_power_watts[0].value == pytest.approx(4 * 3.5)
    assert host.idle_power_watts[0].value == pytest.approx(4 * 0.74)
    assert "set cost_max_power_watts" in host.max_power_watts[0].note
    assert host.price_usd_per_hour == ()


def test_an_average_never_stands_beside_a_setting():
    host = Devices(HOST, HostFigures(max_power_watts=2)).find("host")
    assert host.max_power_watts[0].value == 2
    assert host.idle_power_watts == ()


@pytest.mark.parametrize(
    ("model", "like"),
    [
        ("NVIDIA H100 80GB HBM3", "h100-sxm"),
        ("NVIDIA A100-SXM4-80GB", "a100-80gb"),
        ("NVIDIA A100-PCIE-40GB", "a100-40gb"),
        ("Tesla T4", "t4"),
        ("Tesla V100-SXM2-16GB", "v100-sxm"),
        ("NVIDIA L4", "l4"),
        ("NVIDIA L40S", "l40s"),
        ("NVIDIA GeForce RTX 4090", "rtx-4090"),
        ("NVIDIA H200", "h200"),
        ("NVIDIA H100 PCIe", None),
        ("NVIDIA GeForce GTX 1080", None),
    ],
)
def test_an_accelerator_has_what_the_catalogue_knows_of_its_model(model, like):
    host = Host("x", 2, None, None, accelerators=(Accelerator("cuda-0", model, 7),))
    device = Devices(host, HostFigures(price_usd_per_hour=1.5)).find("host-cuda-0")
    assert device.in_host
    assert device.memory.value == 7
    assert [price.value for price in device.price_usd_per_hour] == [1.5]  # not a cloud's
    known = next((each for each in CATALOGUE if each.name == like), None)
    assert device.peaks == (known.peaks if known else ())
    assert device.kind is DeviceKind.GPU


def test_regions_of_the_reference():
    assert find_region("WORLD", "region").carbon.value == 475
    for name, grams in (("USA", 369.5), ("FRA", 56.0), ("DEU", 381.0)):
        assert find_region(name, "region").carbon.value == pytest.approx(grams, abs=0.051)
    assert next(iter(regions())) == "WORLD"
    assert len(regions()) > 200
    for name, region in regions().items():
        assert name == "WORLD" or re.fullmatch("[A-Z]{3}", name)
        assert region.carbon.value > 0, "a country without a figure is missing"
        assert region.carbon.source


@pytest.mark.parametrize("name", ["fra", "XXX", "", "EUROPE"])
def test_a_region_that_is_not_listed(name):
    with pytest.raises(NotFound) as caught:
        find_region(name, "environment.region")
    assert caught.value.metadata == {"region": name}
    assert caught.value.field == "environment.region"


def write(root, path, text):
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def machine(root):
    write(root, "proc/cpuinfo", "processor : 0\nmodel name\t: Xeon Gold\nflags: a b\n")
    write(root, "proc/meminfo", "MemTotal: 1000 kB\nMemFree: 100 kB\nMemAvailable: 600 kB\n")


def test_a_host_without_limits(tmp_path):
    machine(tmp_path)
    host = probe_host("2026-11-22", root=tmp_path)
    assert (host.model, host.memory_bytes, host.free_bytes) == ("Xeon Gold", 1_024_000, 614_400)
    assert host.cores >= 1
    assert host.day == "2026-11-22"
    assert host.accelerators == ()


def test_limits_of_a_container_of_version_2_count(tmp_path):
    machine(tmp_path)
    write(tmp_path, "proc/self/cgroup", "0::/pod/box\n")
    group = "sys/fs/cgroup/pod/box"
    write(tmp_path, f"{group}/memory.max", "max\n")
    write(tmp_path, f"{group}/cpu.max", "max 100000\n")
    write(tmp_path, "sys/fs/cgroup/pod/memory.max", "500000\n")
    write(tmp_path, "sys/fs/cgroup/pod/memory.current", "300000\n")
    write(tmp_path, "sys/fs/cgroup/pod/memory.stat", "anon 1\ninactive_file 100000\n")
    write(tmp_path, "sys/fs/cgroup/pod/cpu.max", "50000 100000\n")
    host = probe_host(root=tmp_path)
    assert (host.memory_bytes, host.free_bytes, host.cores) == (500_000, 300_000, 1)


def test_limits_of_a_container_of_version_1_count(tmp_path):
    machine(tmp_path)
    write(tmp_path, "proc/self/cgroup", "4:memory:/box\n1:cpu,cpuacct:/box\n0::/\n")
    write(tmp_path, "sys/fs/cgroup/memory/box/memory.limit_in_bytes", "700000")
    write(tmp_path, "sys/fs/cgroup/memory/box/memory.usage_in_bytes", "200000")
    write(tmp_path, "sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712")
    write(tmp_path, "sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_quota_us", "-1")
    host = probe_host(root=tmp_path)
    assert (host.memory_bytes, host.free_bytes) == (700_000, 500_000)


def test_the_kernels_list_of_accelerators(tmp_path):
    machine(tmp_path)
    folder = "proc/driver/nvidia/gpus/0000:01:00.0"
    write(tmp_path, f"{folder}/information", "Model: \t\t NVIDIA H200\nIRQ: 7\n")
    assert probe_host(root=tmp_path).accelerators == (Accelerator("cuda-0", "NVIDIA H200"),)
    assert probe_host(root=tmp_path, accelerators=()).accelerators == ()


def test_a_system_that_tells_nothing(tmp_path):
    host = probe_host(root=tmp_path)
    assert (host.model, host.memory_bytes, host.free_bytes) == ("", None, None)
    device = Devices(host).find("host")
    assert device.memory is None
    assert device.display_name.startswith("this host, ")


def test_this_very_host_is_known():
    host = probe_host("2026-11-22")
    assert host.memory_bytes > host.free_bytes > 0
