"""Bytes in tunnels, summed over peers and time."""

from agent.encryption.values import Observed


class Traffic:
    """The kernel counts for each peer, and begins again with a new device or peer; this sum never sinks."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], tuple[int, int]] = {}
        self.received = self.sent = 0

    def note(self, observed: Observed) -> None:
        """Add what has come since the look before."""
        seen = {}
        for device in observed.devices.values():
            for key, state in device.peers.items():
                pair = device.public_key, key
                received, sent = self._seen.get(pair, (0, 0))
                if state.received < received or state.sent < sent:
                    received = sent = 0
                self.received += state.received - received
                self.sent += state.sent - sent
                seen[pair] = state.received, state.sent
        self._seen = seen
