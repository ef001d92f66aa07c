"""Which of a node's Envoys clients are sent to, and who takes over from it.

A newer one is the heir as soon as it is connected, and takes over when it serves whatever clients are sent to now. The
old one is then retired: it keeps its connections until they end. Nobody goes back to an older one, unless the one that
serves is lost, or is not connected for REMEMBER_SECONDS while no client is sent to it.
"""

from collections.abc import Collection, Iterable

from agent.plan.envoys import Envoy

# How long an address is remembered as a waypoint's after its Envoy was last there: an agent that comes back is found
# sooner, and a pod that gets the address later is nobody's waypoint.
REMEMBER_SECONDS = 5.0


class Succession:
    """Envoys between connected and gone. Times are seconds of one monotonic clock."""

    def __init__(self) -> None:
        self.serving = ""
        self.proved: dict[Envoy, set[str]] = {}
        # When the one that serves started; None: it has not been seen, since this agent started.
        self._since: int | None = None
        self._connected: list[Envoy] = []
        self._seen: dict[str, float] = {}

    def adopt(self, serving: str, beside: Iterable[str], now: float) -> None:
        """Start from what an earlier agent left in the kernel."""
        self.serving = serving
        self._seen = dict.fromkeys([serving, *beside] if serving else beside, now)

    def see(self, connected: Iterable[Envoy], now: float) -> None:
        """Who is connected. Where nobody serves yet, the newest does at once: no client is sent there."""
        self._connected = sorted(envoy for envoy in connected if envoy.address)
        if not self.serving and self._connected:
            self.serving = self._connected[-1].address
        for envoy in self._connected:
            self._seen[envoy.address] = now
            if envoy.address == self.serving:
                self._since = envoy.started
        self._seen = {address: at for address, at in self._seen.items() if now - at < REMEMBER_SECONDS}
        self.proved = {envoy: self.proved.get(envoy, set()) for envoy in self._connected}

    def retract(self, wanted: Collection[str]) -> None:
        """Forget the proofs of listeners that are not wanted any more: one that comes back has to prove itself anew,
        since its port may be another one and the Envoy may have removed it meanwhile.
        """
        for proved in self.proved.values():
            proved.intersection_update(wanted)

    @property
    def absent(self) -> bool:
        """Whether the address that serves has had no connected Envoy for REMEMBER_SECONDS."""
        return self.serving not in self._seen

    @property
    def next_end(self) -> float | None:
        """When `see` will forget an address whose Envoy is not connected."""
        connected = {envoy.address for envoy in self._connected}
        return min(
            (at + REMEMBER_SECONDS for address, at in self._seen.items() if address not in connected), default=None
        )

    @property
    def present(self) -> Envoy | None:
        """The Envoy that serves, while it is connected."""
        return max((envoy for envoy in self._connected if envoy.address == self.serving), default=None)

    @property
    def heir(self) -> Envoy | None:
        """The newest Envoy that is newer than the one that serves."""
        return max((envoy for envoy in self._others() if envoy.started > (self._since or 0)), default=None)

    @property
    def newest(self) -> Envoy | None:
        """The newest Envoy of all: who is left when the one that serves is lost."""
        return max(self._connected, default=None)

    @property
    def retired(self) -> list[Envoy]:
        """Envoys that served before, and are still there for those who are connected to them."""
        return [envoy for envoy in self._others() if envoy.started < (self._since or 0)]

    def _others(self) -> list[Envoy]:
        """Who is connected and does not serve; nobody while it is not known which of them are newer."""
        return [] if self._since is None else [envoy for envoy in self._connected if envoy.address != self.serving]

    def beside(self) -> list[str]:
        """Addresses of other Envoys than the one that serves, the most recently seen first."""
        return sorted(self._seen.keys() - {self.serving}, key=lambda address: (-self._seen[address], address))

    def take_over(self, envoy: Envoy) -> None:
        """New connections go to this one from now on."""
        self.serving, self._since = envoy.address, envoy.started
