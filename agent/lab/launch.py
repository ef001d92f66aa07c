"""Starts a process in its cgroup and namespaces.

A shell script with util-linux does it, so that the process is in its cgroup before the program's first instruction
(which may be a connect), and no interpreter is started in between.
"""

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.lab.paths import NETNS_DIR

# "0" means the writing process: the shell itself, which execs what follows.
_ENTER = 'echo 0 > "$1/cgroup.procs" || exit 125; shift; exec "$@"'
_ENTER_AND_RECORD_PID = 'echo 0 > "$1/cgroup.procs" || exit 125; echo $$ > "$2"; shift 2; exec "$@"'
# The host name is set by the kernel's file, as `hostname` is a package of its own. Ports in TIME_WAIT are used again,
# because load from one pod to one Service would run out of them in seconds.
_FURNISH = """
for name in resolv.conf hostname hosts; do mount --bind "$1/$name" "/etc/$name" || exit 125; done
read -r name < "$1/hostname"; echo "$name" > /proc/sys/kernel/hostname || exit 125
echo 1 > /proc/sys/net/ipv4/tcp_tw_reuse || exit 125
shift; exec "$@"
"""


@dataclass(frozen=True, slots=True)
class ExecContext:
    """The cgroup and network namespace of a process. `files` holds a pod's resolv.conf, hostname and hosts; None leaves
    the host's.
    """

    cgroup: Path
    netns: str
    files: Path | None = None
    pidfile: Path | None = None


def command(context: ExecContext, argv: Sequence[str]) -> list[str]:
    """The command that enters the context and execs `argv`, under the same process id. Exits with 125 if it cannot."""
    if context.pidfile:
        enter = ["sh", "-c", _ENTER_AND_RECORD_PID, "sh", str(context.cgroup), str(context.pidfile)]
    else:
        enter = ["sh", "-c", _ENTER, "sh", str(context.cgroup)]
    network = ["nsenter", f"--net={NETNS_DIR / context.netns}", "--"]
    if context.files is None:
        return [*enter, *network, *argv]
    furnish = ["unshare", "--mount", "--uts", "--", "sh", "-c", _FURNISH, "sh", str(context.files)]
    return [*enter, *network, *furnish, *argv]


def start_apart(context: ExecContext, argv: Sequence[str], log: Path) -> None:
    """Start a process that outlives its starter: its own session, adopted by init, output to a log."""
    context.cgroup.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        subprocess.run(
            ["setsid", "--fork", *command(context, argv)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            check=True,
        )


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    """The environment of a pod's process: of the caller's only the path of programs and the locale."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "TERM") if name in os.environ}
    return {"HOME": "/root", **kept, **extra}
