"""Devices that are known from specifications. What has no source is left out, never 0.

Peaks are dense, and in matrix units wherever there are any for the format. Two figures that
circulate are traps: 989e12 as the H100's float32 (its TF32, in matrix units), and 1979e12 as its
float16 (with half of the weights zeros).
"""

from __future__ import annotations

from stillroom_server.cost.devices.values import (
    Device,
    DeviceKind,
    NumberFormat,
    Peak,
    Sourced,
    Sources,
)

_DATE = "2026-11-22"
_GB, _TERA = 1e9, 1e12

_VENDOR = "the vendor's data sheet"
_LIGHTNING = "Lightning, fabric/utilities/throughput.py, after the vendor's data sheet"
_LISTS = "public lists: Lightning throughput, llm-analysis gpu_configs, mlco2 gpus"
_CODECARBON = "codecarbon 3.3.2, cpu_power.csv"
_FOOTPRINT = "Cloud Carbon Footprint, Methodology, appendices I and III"
_AWS = "AWS, on demand (SkyPilot catalog v8)"
_NEBIUS = "SkyPilot catalog v8, Nebius"
_LAMBDA = "SkyPilot catalog v8, Lambda"

# Watts of a virtual core of a cloud at 0 % and at 100 %.
VCPU_IDLE = Sourced(0.74, _FOOTPRINT, _DATE, "an average of AWS, a virtual core")
VCPU_MAX = Sourced(3.5, _FOOTPRINT, _DATE, "an average of AWS, a virtual core")


def _memory(gigabytes: float) -> Sources:
    return (Sourced(gigabytes * _GB, _VENDOR),)


def _bandwidth(gigabytes: float) -> Sources:
    return (Sourced(gigabytes * _GB, _VENDOR),)


def _watts(value: float, source: str = _VENDOR, date: str = "") -> Sources:
    return (Sourced(value, source, date),)


def _idle(value: float) -> Sources:
    return _watts(value, _FOOTPRINT, _DATE)


def _us_east(price: float, instance: str) -> Sourced:
    return Sourced(price, _AWS, _DATE, f"us-east-1, {instance}")


def _fp32(tera: float, source: str = _LISTS, date: str = "") -> Peak:
    return Peak(NumberFormat.FP32, Sourced(tera * _TERA, source, date))


def _matrix(
    number: NumberFormat, tera: float, source: str = _LISTS, date: str = "", *, sparse: bool = False
) -> Peak:
    return Peak(number, Sourced(tera * _TERA, source, date), sparse=sparse, matrix_units=True)


_CPUS = (
    Device(
        "aws-m8i-2xlarge",
        "8-vCPU cloud Xeon (AWS m8i.2xlarge)",
        DeviceKind.CPU,
        memory_bytes=_memory(32),
        max_power_watts=(Sourced(8 * VCPU_MAX.value, _FOOTPRINT, _DATE, "8 average vCPUs of AWS"),),
        idle_power_watts=(
            Sourced(8 * VCPU_IDLE.value, _FOOTPRINT, _DATE, "8 average vCPUs of AWS"),
        ),
        price_usd_per_hour=(_us_east(0.423, "m8i.2xlarge"),),
        cores=8,
    ),
    Device(
        "xeon-8480",
        "Intel Xeon Platinum 8480+",
        DeviceKind.CPU,
        peaks=(_fp32(1.3, _VENDOR),),
        max_power_watts=_watts(350, _CODECARBON, _DATE),
        cores=56,
    ),
    Device(
        "epyc-7763",
        "AMD EPYC 7763",
        DeviceKind.CPU,
        memory_bandwidth=_bandwidth(204.8),
        peaks=(_fp32(2.4, _VENDOR),),
        max_power_watts=_watts(280, _CODECARBON, _DATE),
        cores=64,
    ),
    Device(
        "epyc-9654",
        "AMD EPYC 9654",
        DeviceKind.CPU,
        memory_bandwidth=_bandwidth(460.8),
        peaks=(_fp32(5, _VENDOR),),
        max_power_watts=_watts(360, _CODECARBON, _DATE),
        cores=96,
    ),
)

_A100_PEAKS = (
    _fp32(19.5, _LIGHTNING, _DATE),
    _matrix(NumberFormat.BF16, 312, _LIGHTNING, _DATE),
    _matrix(NumberFormat.FP16, 312, _LIGHTNING, _DATE),
    _matrix(NumberFormat.INT8, 624, _LISTS, _DATE),
)

_GPUS = (
    Device(
        "t4",
        "NVIDIA T4",
        DeviceKind.GPU,
        memory_bytes=_memory(16),
        memory_bandwidth=_bandwidth(320),
        peaks=(
            _fp32(8.1, _LIGHTNING, _DATE),
            _matrix(NumberFormat.FP16, 65, _LIGHTNING, _DATE),
            _matrix(NumberFormat.INT8, 130, _LIGHTNING, _DATE),
        ),
        max_power_watts=_watts(70),
        idle_power_watts=_idle(8),
        price_usd_per_hour=(_us_east(0.526, "g4dn.xlarge"),),
    ),
    Device(
        "v100-sxm",
        "NVIDIA V100 SXM",
        DeviceKind.GPU,
        memory_bytes=_memory(16),
        memory_bandwidth=_bandwidth(900),
        peaks=(
            _fp32(15.7, _LIGHTNING, _DATE),
            _matrix(NumberFormat.FP16, 125, _LIGHTNING, _DATE),
        ),
        max_power_watts=_watts(300),
        idle_power_watts=_idle(35),
        price_usd_per_hour=(_us_east(3.06, "p3.2xlarge"),),
    ),
    Device(
        "l4",
        "NVIDIA L4",
        DeviceKind.GPU,
        memory_bytes=_memory(24),
        memory_bandwidth=_bandwidth(300),
        peaks=(
            _fp32(30.3, _LISTS, _DATE),
            _matrix(NumberFormat.BF16, 121, _LISTS, _DATE),
            _matrix(NumberFormat.INT8, 242, _LISTS, _DATE),
        ),
        max_power_watts=_watts(72),
        price_usd_per_hour=(_us_east(0.978, "g6.2xlarge"),),
    ),
    Device(
        "a10g",
        "NVIDIA A10G",
        DeviceKind.GPU,
        memory_bytes=_memory(24),
        memory_bandwidth=_bandwidth(600),
        peaks=(
            _fp32(31.2, _LIGHTNING, _DATE),
            _matrix(NumberFormat.BF16, 70, _VENDOR),
            _matrix(NumberFormat.BF16, 125, _LIGHTNING, _DATE),
            _matrix(NumberFormat.INT8, 140, _VENDOR),
        ),
        max_power_watts=_watts(150),
        idle_power_watts=_idle(18),
        price_usd_per_hour=(_us_east(1.624, "g5.4xlarge"),),
    ),
    Device(
        "l40s",
        "NVIDIA L40S",
        DeviceKind.GPU,
        memory_bytes=_memory(48),
        memory_bandwidth=_bandwidth(864),
        peaks=(
            _fp32(91.6, _LISTS, _DATE),
            _matrix(NumberFormat.BF16, 362, _LISTS, _DATE),
            _matrix(NumberFormat.INT8, 733, _LISTS, _DATE),
        ),
        max_power_watts=_watts(350),
        price_usd_per_hour=(Sourced(1.548, _NEBIUS, _DATE, "eu-north1, 8 vCPUs beside it"),),
    ),
    Device(
        "a100-40gb",
        "NVIDIA A100 40 GB",
        DeviceKind.GPU,
        memory_bytes=_memory(40),
        memory_bandwidth=_bandwidth(1555),
        peaks=_A100_PEAKS,
        max_power_watts=_watts(400),
        idle_power_watts=_idle(46),
        price_usd_per_hour=(_us_east(2.745, "an eighth of p4d.24xlarge"),),
    ),
    Device(
        "a100-80gb",
        "NVIDIA A100 80 GB",
        DeviceKind.GPU,
        memory_bytes=_memory(80),
        memory_bandwidth=_bandwidth(2039),
        peaks=_A100_PEAKS,
        max_power_watts=_watts(400),
        idle_power_watts=_idle(46),
        price_usd_per_hour=(_us_east(3.431, "an eighth of p4de.24xlarge"),),
    ),
    Device(
        "h100-sxm",
        "NVIDIA H100 SXM",
        DeviceKind.GPU,
        memory_bytes=_memory(80),
        memory_bandwidth=_bandwidth(3350),
        peaks=(
            _fp32(67, _LIGHTNING, _DATE),
            _matrix(NumberFormat.BF16, 989, _LIGHTNING, _DATE),
            _matrix(NumberFormat.BF16, 1979, _VENDOR, sparse=True),
            _matrix(NumberFormat.INT8, 1979, _LIGHTNING, _DATE),
        ),
        max_power_watts=_watts(700),
        price_usd_per_hour=(
            _us_east(6.88, "an eighth of p5.48xlarge"),
            Sourced(2.95, _NEBIUS, _DATE, "eu-north1"),
        ),
    ),
    Device(
        "h200",
        "NVIDIA H200",
        DeviceKind.GPU,
        memory_bytes=_memory(141),
        memory_bandwidth=_bandwidth(4800),
        peaks=(_fp32(67), _matrix(NumberFormat.BF16, 989)),
        max_power_watts=_watts(700),
        price_usd_per_hour=(Sourced(3.50, _NEBIUS, _DATE, "eu-north1"),),
    ),
    Device(
        "b200",
        "NVIDIA B200",
        DeviceKind.GPU,
        memory_bytes=_memory(192),
        memory_bandwidth=_bandwidth(8000),
        peaks=(
            _fp32(80),
            _matrix(NumberFormat.BF16, 2250),
            _matrix(NumberFormat.INT8, 4500),
        ),
        max_power_watts=_watts(1000),
        price_usd_per_hour=(
            Sourced(6.99, _LAMBDA, _DATE, "all regions, one of them"),
            Sourced(5.50, _NEBIUS, _DATE, "us-central1, an eighth of eight"),
        ),
    ),
    Device(
        "rtx-4090",
        "NVIDIA RTX 4090",
        DeviceKind.GPU,
        memory_bytes=_memory(24),
        memory_bandwidth=_bandwidth(1008),
        peaks=(_fp32(82.6),),
        max_power_watts=_watts(450),
    ),
)

_UNIFIED = (
    Device(
        "apple-m1",
        "Apple M1",
        DeviceKind.UNIFIED,
        memory_bytes=_memory(16),
        memory_bandwidth=_bandwidth(68.25),
        peaks=(_fp32(2.6, _VENDOR),),
        max_power_watts=_watts(10, _CODECARBON, _DATE),
        cores=8,
    ),
    Device(
        "apple-m4-max",
        "Apple M4 Max",
        DeviceKind.UNIFIED,
        memory_bytes=_memory(128),
        memory_bandwidth=_bandwidth(546),
        max_power_watts=_watts(55, _CODECARBON, _DATE),
    ),
)

CATALOGUE: tuple[Device, ...] = tuple(
    sorted((*_CPUS, *_GPUS, *_UNIFIED), key=lambda device: device.name)
)
