"""What the waypoint served, with names on: counted, and written where a namespace asks for it."""

from collections.abc import Callable, Mapping

from agent.ir.access_log import Exchange
from agent.ir.plan import PodPlan
from agent.ir.services import service_key
from agent.telemetry.access_log import line
from agent.telemetry.requests import Requests

MAX_ADDRESSES = 4096


class Addresses:
    """Whose an address is: a pod's that is there, or that of the last that was."""

    def __init__(self, pods: Callable[[], Mapping[int, PodPlan]]) -> None:
        """`pods` are those of this node, now."""
        self._pods = pods
        self._known: dict[str, PodPlan] = {}

    def refresh(self) -> None:
        """Look again at what there is. Of those that are gone the oldest are forgotten."""
        for plan in self._pods().values():
            for address in plan.addresses:
                self._known.pop(address, None)
                self._known[address] = plan
        for address in list(self._known)[:-MAX_ADDRESSES]:
            del self._known[address]

    def pod(self, address: str) -> PodPlan | None:
        """The pod with this address."""
        return self._known.get(address)


class Listeners:
    """Which listener has a port. Listeners that are gone are known until their port is another's."""

    def __init__(self, ports: Callable[[], Mapping[str, int]]) -> None:
        """`ports` are the listeners' ports, by name."""
        self._ports = ports
        self._by_port: dict[int, str] = {}

    def name(self, port: int) -> str | None:
        """The listener's name: `namespace/service:port`, and the consumer."""
        found = self._by_port.get(port)
        if found is None or self._ports().get(found) != port:
            self._by_port |= {number: name for name, number in self._ports().items()}
        return self._by_port.get(port)


class Served:
    """Takes what the waypoint tells."""

    def __init__(
        self,
        addresses: Addresses,
        listeners: Listeners,
        requests: Requests,
        is_logged: Callable[[str], bool],
        write: Callable[[bytes], None],
    ) -> None:
        """`is_logged` says of a Service's namespace whether its requests are written; `write` takes a line."""
        self._addresses = addresses
        self._listeners = listeners
        self._requests = requests
        self._is_logged = is_logged
        self._write = write

    def take(self, items: list[Exchange]) -> None:
        """Requests that came together."""
        self._addresses.refresh()
        for item in items:
            client, listener = self._addresses.pod(item.client), self._listeners.name(item.port)
            dialled = listener.partition("@")[0] if listener else None
            service = service_key(dialled.rpartition(":")[0]) if dialled else None
            self._requests.add(item, client, service)
            if service is not None and self._is_logged(service.namespace):
                self._write(line(item, client, dialled))
