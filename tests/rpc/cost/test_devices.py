"""What can be estimated for, with sources."""

from __future__ import annotations

import grpc
import pytest
from serving import Details, Serving

from stillroom.v1 import cost_service_pb2 as pb
from stillroom.v1 import cost_service_pb2_grpc as stubs


def test_this_host_comes_first(server: Serving) -> None:
    stub = stubs.CostServiceStub(server.channel)
    found = stub.ListDevices(pb.ListDevicesRequest(), timeout=60)
    assert found.devices[0].name == "devices/host"
    assert found.devices[0].in_host
    assert found.devices[0].cores > 0
    assert {"WORLD", "FRA"} <= {region.name for region in found.regions}
    assert found.defaults.region == "FRA"
    assert found.defaults.price_usd_per_hour == pytest.approx(0.36)
    for device in found.devices:
        for figure in (*device.memory_bytes, *device.max_power_watts, *device.price_usd_per_hour):
            assert figure.source


def test_devices_come_in_pages(server: Serving) -> None:
    stub = stubs.CostServiceStub(server.channel)
    everything = stub.ListDevices(pb.ListDevicesRequest(page_size=1000), timeout=60)
    names: list[str] = []
    token = ""
    while True:
        request = pb.ListDevicesRequest(page_size=7, page_token=token)
        page = stub.ListDevices(request, timeout=60)
        assert bool(page.regions) == bool(page.HasField("defaults")) == (not names)
        names += [device.name for device in page.devices]
        token = page.next_page_token
        if not token:
            break
    assert names == [device.name for device in everything.devices]
    for bad in (pb.ListDevicesRequest(page_size=-1), pb.ListDevicesRequest(page_token="x")):
        with pytest.raises(grpc.RpcError) as caught:
            stub.ListDevices(bad, timeout=60)
        assert Details(caught.value).code.name == "INVALID_ARGUMENT"
