"""`weft agent`: run the agent on this node."""

import asyncio
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from agent.cli.output import Exit, fail
from agent.ir.tables import UnknownPodPolicy
from agent.node.start import StartError, run
from agent.settings import (
    DEFAULT_STATE,
    Settings,
    SettingsError,
    find_kubepods,
    parse_addresses,
    parse_cidrs,
    parse_collector,
    parse_endpoint,
)
from agent.telemetry import log
from agent.translate.options import FIRST_BYTE_SECONDS, UNSUPPORTED_RUNTIMES


class UnknownPods(StrEnum):
    """What `--unknown-pods` takes."""

    PASS = "pass"
    REJECT = "reject"


def agent(
    manifests: Annotated[
        Path | None, typer.Option(help="Configure the agent by the manifests in this directory.")
    ] = None,
    kubernetes: Annotated[
        bool, typer.Option("--kubernetes", help="Configure the agent by the Kubernetes API.")
    ] = False,
    kubeconfig: Annotated[
        Path | None, typer.Option(help="How to reach the API; by default the pod's service account.")
    ] = None,
    state: Annotated[Path, typer.Option(help="Sockets and pins.")] = DEFAULT_STATE,
    kubepods: Annotated[Path | None, typer.Option(help="The kubelet's cgroup; found when not given.")] = None,
    waypoint_address: Annotated[
        str, typer.Option(help="Where a waypoint listens that does not say so: an address, or one of each IP family.")
    ] = "",
    metrics: Annotated[str, typer.Option(help="HOST:PORT of /metrics, /healthz and /readyz.")] = "127.0.0.1:9464",
    node: Annotated[str | None, typer.Option(help="This node's name; by default the host's.")] = None,
    zone: Annotated[str, typer.Option(help="This node's zone; by default what its Node says.")] = "",
    unknown_pods: Annotated[
        UnknownPods, typer.Option(help="What pods that are not known yet may do.")
    ] = UnknownPods.PASS,
    enrol_kube_system: Annotated[bool, typer.Option(help="Let labels enrol pods of kube-system too.")] = False,
    unsupported_runtimes: Annotated[
        str, typer.Option(help="Handlers of RuntimeClasses whose pods cannot be enrolled, as patterns.")
    ] = ",".join(UNSUPPORTED_RUNTIMES),
    clusterset_cidr: Annotated[
        list[str] | None,
        typer.Option(help="A range of ServiceImports' addresses, repeatable; by default those of ServiceCIDR objects."),
    ] = None,
    otlp_endpoint: Annotated[
        str | None, typer.Option(help="HOST:PORT of an OpenTelemetry collector, for spans of requests at the waypoint.")
    ] = None,
    trace_percent: Annotated[
        float, typer.Option(min=0, max=100, help="Of how many percent of the requests without a trace there are spans.")
    ] = 1,
    first_byte_seconds: Annotated[
        float, typer.Option(min=1, help="How long the waypoint waits for a client's first byte, or a request's head.")
    ] = FIRST_BYTE_SECONDS,
    audit_seconds: Annotated[float, typer.Option(min=1, help="How often the kernel's tables are audited.")] = 30,
    log_level: Annotated[log.Level, typer.Option(help="From which level on there are lines.")] = log.Level.INFO,
) -> None:
    """Run the agent: load the programs, keep tables and Envoy in step with the source, until told to stop.

    The datapath stays when the agent ends; `weft detach` removes it.
    """
    log.setup(log_level)
    if (manifests is None) != kubernetes:
        fail("give one of --manifests DIR and --kubernetes", Exit.USAGE)
    try:
        host, port = parse_endpoint(metrics)
        settings = Settings(
            kubepods=kubepods or find_kubepods(),
            manifests=manifests,
            kubeconfig=kubeconfig,
            state=state,
            waypoint_addresses=parse_addresses(waypoint_address, "--waypoint-address"),
            metrics_host=host,
            metrics_port=port,
            zone=zone,
            collector=parse_collector(otlp_endpoint, trace_percent),
            enrol_kube_system=enrol_kube_system,
            clusterset_cidrs=parse_cidrs(clusterset_cidr or ()),
            unsupported_runtimes=tuple(filter(None, unsupported_runtimes.split(","))),
            unknown_pod=UnknownPodPolicy[unknown_pods.name],
            first_byte_seconds=first_byte_seconds,
            audit_seconds=audit_seconds,
            **({"node": node} if node else {}),
        )
        asyncio.run(run(settings))
    except (SettingsError, StartError) as error:
        fail(str(error))
