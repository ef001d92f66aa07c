"""Starting a process at its place: cgroup first, then namespaces, then the program.

The steps are a shell script over util-linux, so that the process is in its cgroup before the program's first
instruction (which may be a connect) and no interpreter is started in between.
"""

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.lab.paths import NETNS_DIR

# "0" means the writing process: the shell itself, which execs what follows.
_ENTER = 'echo 0 > "$1/cgroup.procs" || exit 125; shift; exec "$@"'
_ENTER_AND_SAY = 'echo 0 > "$1/cgroup.procs" || exit 125; echo $$ > "$2"; shift 2; exec "$@"'
# The host name is set by the kernel's file, as `hostname` is a package of its own. Ports in TIME_WAIT are used again,
# because load from one pod to one Service would run out of them in seconds.
_FURNISH = """
for name in resolv.conf hostname hosts; do mount --bind "$1/$name" "/etc/$name" || exit 125; done
read -r name < "$1/hostname"; echo "$name" > /proc/sys/kernel/hostname || exit 125
echo 1 > /proc/sys/net/ipv4/tcp_tw_reuse || exit 125
shift; exec "$@"
"""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a process runs. `files` holds a pod's resolv.conf, hostname and hosts; None leaves the host's."""

    cgroup: Path
    netns: str
    files: Path | None = None
    pidfile: Path | None = None


def command(place: Place, argv: Sequence[str]) -> list[str]:
    """The command that becomes `argv` at its place, under the same process id. Exits with 125 if it cannot."""
    if place.pidfile:
        enter = ["sh", "-c", _ENTER_AND_SAY, "sh", str(place.cgroup), str(place.pidfile)]
    else:
        enter = ["sh", "-c", _ENTER, "sh", str(place.cgroup)]
    network = ["nsenter", f"--net={NETNS_DIR / place.netns}", "--"]
    if place.files is None:
        return [*enter, *network, *argv]
    furnish = ["unshare", "--mount", "--uts", "--", "sh", "-c", _FURNISH, "sh", str(place.files)]
    return [*enter, *network, *furnish, *argv]


def start_apart(place: Place, argv: Sequence[str], log: Path) -> None:
    """Start a process that outlives its starter: its own session, adopted by init, output to a log."""
    place.cgroup.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        subprocess.run(
            ["setsid", "--fork", *command(place, argv)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            check=True,
        )


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    """The environment of a pod's process: nothing of the caller's but where programs and the locale are."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "TERM") if name in os.environ}
    return {"HOME": "/root", **kept, **extra}
