"""What headers of plain frames say, and which addresses are pods'."""

from ipaddress import ip_address

import pytest

from agent.encryption.proof import MOST_FLOWS, Flow, Flows, Names, pod_ranges, read_header
from agent.encryption.values import Member
from agent.ir.addresses import Addresses
from agent.model.parameters import MeshEncryption

N1 = Member("n1", Addresses("10.0.0.1"), ("10.244.0.0/24", "fd00:1::/64"))
N2 = Member("n2", Addresses("10.0.0.2"), ("10.244.1.0/24",))


def ipv4(source: str, destination: str, protocol: int = 6) -> bytes:
    ends = ip_address(source).packed + ip_address(destination).packed
    return bytes([0x45, *bytes(8), protocol, 0, 0]) + ends + bytes(4)


def ipv6(source: str, destination: str, protocol: int) -> bytes:
    return bytes([0x60, *bytes(5), protocol, 64]) + ip_address(source).packed + ip_address(destination).packed


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (ipv4("10.244.0.1", "10.244.1.1"), ("10.244.0.1", "10.244.1.1", "TCP")),
        (ipv4("10.244.0.1", "10.244.1.1", 47), ("10.244.0.1", "10.244.1.1", "47")),
        (ipv6("fd00::1", "fd00::2", 17), ("fd00::1", "fd00::2", "UDP")),
        (ipv4("10.244.0.1", "10.244.1.1")[:19], None),
        (ipv6("fd00::1", "fd00::2", 17)[:39], None),
        (b"", None),
        (bytes(64), None),
    ],
)
def test_a_header(header: bytes, found: tuple[str, str, str] | None) -> None:
    assert read_header(header) == found


def test_flows_are_named_until_there_are_too_many() -> None:
    flows = Flows()
    for number in range(MOST_FLOWS + 3):
        for _ in range(1 + (number == 1)):
            flows.note("eth0", True, ipv4(f"10.244.0.{number}", "10.244.1.1"))
    assert (len(flows.frames), flows.others) == (MOST_FLOWS, 3)
    first = flows.document(Names({"10.244.0.1": "app/a"}, [N1, N2]))[0]
    assert first == {
        "link": "eth0",
        "direction": "sent",
        "source": {"address": "10.244.0.1", "pod": "app/a", "node": "n1"},
        "destination": {"address": "10.244.1.1", "pod": "", "node": "n2"},
        "protocol": "TCP",
        "framesSeen": 2,
    }
    assert Flow("eth0", True, "10.244.0.1", "10.244.1.1", "TCP") in flows.frames


def test_ranges_of_pods_are_joined() -> None:
    assert pod_ranges(MeshEncryption("Pods"), [N1, N2]) == ("10.244.0.0/23", "fd00:1::/64")
    assert pod_ranges(MeshEncryption("Pods", ("10.244.0.0/16",)), [N1, N2]) == ("10.244.0.0/16", "fd00:1::/64")
    assert pod_ranges(MeshEncryption("Off"), []) == ()
