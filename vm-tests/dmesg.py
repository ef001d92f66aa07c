"""What in a kernel's log fails a run: the first line of each report of the kernel about itself."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

_REPORT = re.compile(
    r"WARNING:|\bBUG\b|\bOops\b|Kernel panic|general protection fault|\bUBSAN:|\bKASAN:|\bKFENCE:|\bINFO: |kernel bug|"
    r"verifier bug|verifier backtracking bug|\bBPF: |unregister_netdevice: waiting|scheduling while atomic|"
    r"refcount_t:|(?:list_add|list_del) corruption|detected stall|soft lockup|"
    r"clocksource: .*(?:unstable|watchdog|readout)"
)
_KERNEL_LINE = re.compile(r"^(?:<\d+>)?\[\s*\d+\.\d+\]")

SLOW_GUEST = {
    "RCU stall": re.compile(r"rcu: INFO: rcu\w* (?:self-)?detected (?:expedited )?stalls?"),
    "soft lockup": re.compile(r"watchdog: BUG: soft lockup - CPU#\d+ stuck for \d+s"),
    "clocksource": re.compile(r"clocksource: .*(?:unstable|watchdog|readout)"),
}
"""Reports that a guest makes when its host has no time for it: they say nothing about weft. What follows them (a trace)
has no first line of its own."""


@dataclass
class Findings:
    """`problems` are lines that fail a run; `slow` counts those that a slow guest may have, by their names."""

    problems: list[str] = field(default_factory=list)
    slow: dict[str, int] = field(default_factory=dict)


def examine(log: Iterable[str]) -> Findings:
    """Read a kernel log, or a serial console whose other lines are passed over."""
    found = Findings()
    for line in log:
        if not _KERNEL_LINE.match(line) or not _REPORT.search(line):
            continue
        name = next((name for name, pattern in SLOW_GUEST.items() if pattern.search(line)), None)
        if name is None:
            found.problems.append(line.strip())
        else:
            found.slow[name] = found.slow.get(name, 0) + 1
    return found
