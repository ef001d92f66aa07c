"""Bytes in tunnels, while devices and peers come and go."""

from agent.encryption.traffic import Traffic
from agent.encryption.values import Device, Observed, Peer, PeerState


def observed(**peers: tuple[int, int]) -> Observed:
    states = {key: PeerState(Peer(key, "10.0.0.2", 51872, frozenset()), 1, *counts) for key, counts in peers.items()}
    return Observed({1: Device(1, "ours", 1420, states)})


def test_the_sum_never_sinks() -> None:
    traffic = Traffic()
    sums = []
    for found in (
        observed(a=(10, 20)),
        observed(a=(15, 20), b=(1, 1)),
        observed(b=(1, 2)),
        observed(a=(3, 4), b=(1, 2)),
        observed(a=(0, 1), b=(1, 2)),
        Observed(),
    ):
        traffic.note(found)
        sums.append((traffic.received, traffic.sent))
    assert sums == [(10, 20), (16, 21), (16, 22), (19, 26), (19, 27), (19, 27)]
