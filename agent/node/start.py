"""Start of the agent: a child process compiles the BPF programs while this process imports the rest of the agent.

Children that need more privileges than the agent are started first. Before it reads an object, the agent keeps only the
capabilities that it needs until it ends, also where it was started with all of them.
"""

import asyncio
import gc
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from agent.kernel import bpffs, loader, privileges
from agent.settings import Settings

# The agent holds up to a million objects without reference cycles. A full garbage collection takes 0.2 s, in which no
# pod is enrolled. With this threshold it runs after seven million net allocations. Python's own rule is a growth by 25
# %.
_GARBAGE = (700, 10, 1000)
# The loop releases the GIL with each call to the kernel. Threads then hold it for less than the default of 5 ms.
_SWITCH_SECONDS = 0.0005


class StartError(Exception):
    """The agent cannot start. The message is one sentence."""


async def run(settings: Settings) -> None:
    """Run the agent until SIGTERM or SIGINT. Programs and maps stay when it ends. Raises `StartError`."""
    tune_interpreter()
    with _as_start_error():
        loading = _start_children(settings)
        privileges.keep()
    preparing = ThreadPoolExecutor(max_workers=1).submit(loader.finish, loading)
    # These imports take half a second. The compiler takes more than a second, on a core of its own.
    from agent.kube.source import open_source  # noqa: PLC0415
    from agent.node.app import START_ERRORS, Agent  # noqa: PLC0415
    from agent.telemetry.internal_errors import logged_errors  # noqa: PLC0415

    errors = logged_errors()
    try:
        location = settings.manifests, settings.kubeconfig, settings.node, settings.nodes, settings.account_watches
        async with open_source(*location, errors, all_nodes=settings.encryption) as source:
            prepared = await asyncio.wrap_future(preparing)
            await Agent(settings, prepared, source, errors).serve()
    except (loader.LoadError, *START_ERRORS) as error:
        raise StartError(str(error)) from error


def tune_interpreter() -> None:
    """Shorten the time that the loop waits for the garbage collector, and for threads."""
    gc.set_threshold(*_GARBAGE)
    sys.setswitchinterval(_SWITCH_SECONDS)


@contextmanager
def _as_start_error() -> Iterator[None]:
    """Turn an `OSError` into a `StartError`: a sentence for the user, not a traceback."""
    try:
        yield
    except OSError as error:
        raise StartError(str(error)) from error


def _start_children(settings: Settings) -> loader.Loader:
    """Start the network namespace helper, unless one runs, and the process that loads programs and maps. Raises
    `OSError`.
    """
    settings.state.mkdir(parents=True, exist_ok=True)
    bpffs.mount(settings.pins)
    if settings.running_netns_helper is None:
        options = [f"--socket={settings.netns_socket}", f"--kubepods={settings.kubepods}", "--child"]
        options += ["--node-network=/proc/self/ns/net"] if settings.encryption else []
        subprocess.Popen([sys.executable, "-m", "agent.kernel.netns", *options], stdin=subprocess.DEVNULL)
    return loader.start(settings.pins, settings.kubepods)
