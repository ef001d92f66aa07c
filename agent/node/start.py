"""Start: the programs are compiled by a child process while this one imports the rest of the agent."""

import asyncio
import gc
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from agent.kernel import bpffs, loader
from agent.settings import Settings

# What the agent knows is up to a million values without cycles. To look through all of them takes a fifth of a second,
# in which no pod is enrolled: done once seven million came that did not go, not whenever they grew by a quarter.
_GARBAGE = (700, 10, 1000)
# The loop gives way with each call to the kernel. Those who work in threads shall give back sooner than after 5 ms.
_SWITCH_SECONDS = 0.0005


class StartError(Exception):
    """The agent cannot start; the text says why."""


async def run(settings: Settings) -> None:
    """Run the agent until SIGTERM or SIGINT. The datapath stays when it ends. Raises StartError."""
    tune_interpreter()
    with _explained():
        settings.state.mkdir(parents=True, exist_ok=True)
    preparing = ThreadPoolExecutor(max_workers=1).submit(_prepare, settings)
    # Half a second of a start: the compiler, a second and more, has a core of its own meanwhile.
    from agent.kube.source import open_source  # noqa: PLC0415
    from agent.node.app import START_ERRORS, Agent  # noqa: PLC0415
    from agent.telemetry.internal_errors import logged_errors  # noqa: PLC0415

    errors = logged_errors()
    try:
        place = settings.manifests, settings.kubeconfig, settings.node, settings.node_file
        async with open_source(*place, errors) as source:
            prepared = await asyncio.wrap_future(preparing)
            await Agent(settings, prepared, source, errors).serve()
    except (loader.LoadError, *START_ERRORS) as error:
        raise StartError(str(error)) from error


def tune_interpreter() -> None:
    """Keep the loop from waiting for the garbage collector, and for those who work in threads."""
    gc.set_threshold(*_GARBAGE)
    sys.setswitchinterval(_SWITCH_SECONDS)


@contextmanager
def _explained() -> Iterator[None]:
    """What the machine refuses is said in a sentence, not as a traceback."""
    try:
        yield
    except OSError as error:
        raise StartError(str(error)) from error


def _prepare(settings: Settings) -> loader.Prepared:
    """Programs and maps, by a child process that ends before the agent starts to work."""
    with _explained():
        bpffs.mount(settings.pins)
    return loader.prepare(settings.pins, settings.kubepods)
