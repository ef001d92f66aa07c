"""`weft controller`: write statuses, as one of several replicas."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from agent.cli.output import fail
from agent.kube.errors import ConfigurationError
from agent.settings import ControllerSettings, SettingsError, parse_endpoint
from agent.signals import EndedError
from agent.telemetry import log
from agent.telemetry.http import ListenError


def controller(
    kubeconfig: Annotated[
        Path | None, typer.Option(help="How to reach the API; by default the pod's service account.")
    ] = None,
    namespace: Annotated[str, typer.Option(help="Where the Lease is.")] = "weft-system",
    lease: Annotated[
        str, typer.Option(help="The Lease by which replicas elect the one that writes.")
    ] = "weft-controller",
    identity: Annotated[str | None, typer.Option(help="This replica's name; by default the host's.")] = None,
    mesh: Annotated[str, typer.Option(help="The name of this installation's XMesh.")] = "weft",
    metrics: Annotated[str, typer.Option(help="HOST:PORT of /metrics, /healthz and /readyz.")] = "127.0.0.1:9465",
    health_socket: Annotated[Path | None, typer.Option(help="A Unix socket with /healthz and /readyz.")] = None,
    startup_taint: Annotated[
        bool, typer.Option("--startup-taint", help="Take the taint weft.dev/agent-not-ready from nodes with an agent.")
    ] = False,
    log_level: Annotated[log.Level, typer.Option(help="From which level on there are lines.")] = log.Level.INFO,
) -> None:
    """Write what became of each Route into its status, and the XMesh where there is that kind, until told to stop.

    Run two replicas: one leads, the other is ready. Agents cannot write Routes.
    """
    log.setup(log_level)
    # Every command imports this module, and only this one needs the client: 40 MB and a third of a second.
    from agent.controller.run import run  # noqa: PLC0415

    try:
        host, port = parse_endpoint(metrics)
        settings = ControllerSettings(
            kubeconfig=kubeconfig,
            namespace=namespace,
            lease=lease,
            mesh=mesh,
            metrics_host=host,
            metrics_port=port,
            health_socket=health_socket,
            startup_taint=startup_taint,
            **({"identity": identity} if identity else {}),
        )
        asyncio.run(run(settings))
    except (SettingsError, ConfigurationError, ListenError, EndedError) as error:
        fail(str(error))
