"""The part of a pod's containers that says which of its ports the kubelet connects to: probes and lifecycle hooks."""

from collections.abc import Iterator

from agent.model.meta import Value


class PortAction(Value, frozen=True):
    """A connection that the kubelet makes: to a port, or to the container's port of this name. Without a host it goes
    to the pod's own address.
    """

    port: int | str
    host: str = ""


class Probe(Value, frozen=True):
    """A probe or a lifecycle hook. One that executes a command in the container has none of these."""

    http_get: PortAction | None = None
    tcp_socket: PortAction | None = None
    grpc: PortAction | None = None


class Lifecycle(Value, frozen=True):
    """The hooks of a container."""

    post_start: Probe | None = None
    pre_stop: Probe | None = None


class ContainerPort(Value, frozen=True):
    """A port that a container names."""

    container_port: int
    name: str = ""


class Container(Value, frozen=True):
    """A container or init container; only init containers have a restart policy of their own."""

    ports: tuple[ContainerPort, ...] = ()
    liveness_probe: Probe | None = None
    readiness_probe: Probe | None = None
    startup_probe: Probe | None = None
    lifecycle: Lifecycle = Lifecycle()
    restart_policy: str = ""

    @property
    def probe_ports(self) -> Iterator[int]:
        """The ports of the pod's own address that the kubelet connects to."""
        hooks = (self.lifecycle.post_start, self.lifecycle.pre_stop)
        probes = (self.liveness_probe, self.readiness_probe, self.startup_probe, *hooks)
        for probe in probes:
            for action in (probe.http_get, probe.tcp_socket, probe.grpc) if probe is not None else ():
                if action is not None and not action.host:
                    yield from self._numbers(action.port)

    def _numbers(self, port: int | str) -> list[int]:
        """The port's number. The kubelet takes text that no port has as its name for a number, if it is one."""
        if isinstance(port, int):
            return [port]
        named = [item.container_port for item in self.ports if item.name == port]
        return named[:1] or ([int(port)] if port.isascii() and port.isdecimal() else [])
