"""The agent's settings, as options of translation and as the configuration of the kernel."""

from agent.ir.tables import Config
from agent.kernel import cgroups
from agent.node.telemetry import events_per_window
from agent.settings import Settings
from agent.translate.options import Options


def translation_options(settings: Settings) -> Options:
    """The options of translation."""
    return Options(
        settings.node,
        settings.enrol_kube_system,
        settings.zone,
        settings.collector,
        settings.unsupported_runtimes,
        settings.first_byte_seconds,
        settings.clusterset_cidrs,
    )


def kernel_config(settings: Settings, cpus: int) -> Config:
    """The node's configuration for the kernel."""
    first, last = cgroups.levels(settings.kubepods)
    config = Config(
        first_level=first,
        last_level=last,
        unknown_pod=settings.unknown_pod,
        events=events_per_window(cpus),
    )
    return config.with_waypoints(settings.waypoint_addresses, ())
