"""`weft controller`: write statuses, as one of several replicas."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from agent.cli.options import with_options
from agent.cli.output import fail
from agent.kube.errors import ConfigurationError
from agent.model.meta import WEFT_NAMESPACE
from agent.settings import ControllerSettings, SettingsError, parse_endpoint
from agent.signals import EndedError
from agent.telemetry import log
from agent.telemetry.http import ListenError


@dataclass(frozen=True)
class ControllerOptions:
    """The options of `weft controller`."""

    kubeconfig: Annotated[
        Path | None, typer.Option(help="The kubeconfig for the API. Default: the pod's service account.")
    ] = None
    namespace: Annotated[str, typer.Option(help="The namespace of the Lease.")] = WEFT_NAMESPACE
    lease: Annotated[str, typer.Option(help="The name of the Lease for leader election.")] = "weft-controller"
    identity: Annotated[str | None, typer.Option(help="This replica's name. Default: the host name.")] = None
    mesh: Annotated[str, typer.Option(help="The name of this installation's XMesh.")] = "weft"
    metrics: Annotated[str, typer.Option(help="HOST:PORT that serves /metrics, /healthz and /readyz.")] = (
        "127.0.0.1:9465"
    )
    health_socket: Annotated[
        Path | None, typer.Option(help="The Unix socket that serves /healthz and /readyz. Default: none.")
    ] = None
    startup_taint: Annotated[
        bool,
        typer.Option(
            "--startup-taint", help="Remove the taint weft.dev/agent-not-ready from nodes whose agent is ready."
        ),
    ] = False
    certificates: Annotated[
        bool, typer.Option("--certificates", help="Sign CertificateSigningRequests of the signer weft.dev/spiffe.")
    ] = False
    log_level: Annotated[log.Level, typer.Option(help="The lowest level of lines in the log.")] = log.Level.INFO


@with_options(ControllerOptions)
def controller(options: ControllerOptions) -> None:
    """Write the status of each Route, and of the XMesh where the cluster has that kind.

    Run two replicas: one leads and writes, the other is ready to take over. Agents have no permission to write Routes.
    """
    log.setup(options.log_level)
    # Every command imports this module, and only this one needs the client: 40 MB and a third of a second.
    from agent.controller.run import run  # noqa: PLC0415

    try:
        asyncio.run(run(_settings(options)))
    except (SettingsError, ConfigurationError, ListenError, EndedError) as error:
        fail(str(error))


def _settings(options: ControllerOptions) -> ControllerSettings:
    """The controller's settings. Raises `SettingsError` for an option that cannot be used."""
    host, port = parse_endpoint(options.metrics)
    return ControllerSettings(
        kubeconfig=options.kubeconfig,
        namespace=options.namespace,
        lease=options.lease,
        mesh=options.mesh,
        metrics_host=host,
        metrics_port=port,
        health_socket=options.health_socket,
        startup_taint=options.startup_taint,
        certificates=options.certificates,
        **({"identity": options.identity} if options.identity else {}),
    )
