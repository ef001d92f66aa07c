"""`weft agent`: run the agent on this node."""

import asyncio
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from agent.cli.options import with_options
from agent.cli.output import Exit, fail
from agent.ir.tables import UnknownPodPolicy
from agent.kernel.kubepods import KubepodsError, find_kubepods
from agent.node.start import StartError, run
from agent.settings import (
    ACCOUNT_WATCHES,
    DEFAULT_STATE,
    Settings,
    SettingsError,
    parse_addresses,
    parse_cidrs,
    parse_collector,
    parse_endpoint,
)
from agent.telemetry import log
from agent.translate.options import FIRST_BYTE_SECONDS, UNSUPPORTED_RUNTIMES


class UnknownPods(StrEnum):
    """The values of `--unknown-pods`."""

    PASS = "pass"
    REJECT = "reject"


@dataclass(frozen=True)
class AgentOptions:
    """The options of `weft agent`."""

    manifests: Annotated[
        Path | None, typer.Option(help="Read objects from the manifests in this directory, and watch it.")
    ] = None
    kubernetes: Annotated[bool, typer.Option("--kubernetes", help="List and watch objects in the Kubernetes API.")] = (
        False
    )
    kubeconfig: Annotated[
        Path | None, typer.Option(help="The kubeconfig for the API. Default: the pod's service account.")
    ] = None
    state: Annotated[Path, typer.Option(help="The directory of the agent's sockets and pinned maps.")] = DEFAULT_STATE
    kubepods: Annotated[
        Path | None, typer.Option(help="The kubelet's cgroup for pods. Default: found below the cgroup2 mount.")
    ] = None
    waypoint_address: Annotated[
        str,
        typer.Option(
            help="The address, or one of each IP family, of a waypoint whose Envoy does not announce its own addresses."
        ),
    ] = ""
    metrics: Annotated[str, typer.Option(help="HOST:PORT that serves /metrics, /healthz and /readyz.")] = (
        "127.0.0.1:9464"
    )
    node: Annotated[str | None, typer.Option(help="The node's name. Default: the host name.")] = None
    zone: Annotated[str, typer.Option(help="The node's zone. Default: the zone label of the Node object.")] = ""
    unknown_pods: Annotated[
        UnknownPods, typer.Option(help="pass or reject: connections of pods that the agent does not know yet.")
    ] = UnknownPods.PASS
    enrol_kube_system: Annotated[bool, typer.Option(help="Let labels enrol pods of kube-system too.")] = False
    unsupported_runtimes: Annotated[
        str,
        typer.Option(help="Patterns, separated by commas, of RuntimeClass handlers whose pods cannot be enrolled."),
    ] = ",".join(UNSUPPORTED_RUNTIMES)
    clusterset_cidr: Annotated[
        list[str] | None,
        typer.Option(help="A CIDR of ServiceImports' addresses; repeatable. Default: those of ServiceCIDR objects."),
    ] = None
    otlp_endpoint: Annotated[
        str | None,
        typer.Option(help="HOST:PORT of an OpenTelemetry collector to which Envoy sends spans of requests."),
    ] = None
    trace_percent: Annotated[
        float,
        typer.Option(min=0, max=100, help="Percentage of requests to trace, of those that carry no trace context."),
    ] = 1
    first_byte_seconds: Annotated[
        float,
        typer.Option(min=1, help="Seconds that Envoy waits for a client's first byte, and for a request's headers."),
    ] = FIRST_BYTE_SECONDS
    audit_seconds: Annotated[float, typer.Option(min=1, help="Seconds between audits of the kernel's maps.")] = 30
    account_watches: Annotated[
        int,
        typer.Option(min=1, help="The most service accounts in policies whose pods on other nodes are watched."),
    ] = ACCOUNT_WATCHES
    encryption: Annotated[
        bool,
        typer.Option(
            "--encryption", help="Make the tunnels to other nodes that MeshParameters ask for, and watch all Nodes."
        ),
    ] = False
    netns_helper: Annotated[
        Path | None,
        typer.Option(help="The socket of a network namespace helper that runs already. Default: the agent starts one."),
    ] = None
    log_level: Annotated[log.Level, typer.Option(help="The lowest level of lines in the log.")] = log.Level.INFO


@with_options(AgentOptions)
def agent(options: AgentOptions) -> None:
    """Run the agent: load the BPF programs, and keep the kernel's maps and Envoy in step with the objects.

    Programs and maps stay in the kernel when the agent ends. `weft detach` removes them.
    """
    log.setup(options.log_level)
    if (options.manifests is None) != options.kubernetes:
        fail("give one of --manifests DIR and --kubernetes", Exit.USAGE)
    try:
        asyncio.run(run(_settings(options)))
    except (SettingsError, KubepodsError, StartError) as error:
        fail(str(error))


def _settings(options: AgentOptions) -> Settings:
    """The agent's settings. Raises `SettingsError` for an option that cannot be used, and `KubepodsError`."""
    host, port = parse_endpoint(options.metrics)
    return Settings(
        kubepods=options.kubepods or find_kubepods(),
        manifests=options.manifests,
        kubeconfig=options.kubeconfig,
        state=options.state,
        waypoint_addresses=parse_addresses(options.waypoint_address, "--waypoint-address"),
        metrics_host=host,
        metrics_port=port,
        zone=options.zone,
        collector=parse_collector(options.otlp_endpoint, options.trace_percent),
        enrol_kube_system=options.enrol_kube_system,
        clusterset_cidrs=parse_cidrs(options.clusterset_cidr or ()),
        unsupported_runtimes=tuple(filter(None, options.unsupported_runtimes.split(","))),
        unknown_pod=UnknownPodPolicy[options.unknown_pods.name],
        first_byte_seconds=options.first_byte_seconds,
        audit_seconds=options.audit_seconds,
        account_watches=options.account_watches,
        encryption=options.encryption,
        running_netns_helper=options.netns_helper,
        **({"node": options.node} if options.node else {}),
    )
