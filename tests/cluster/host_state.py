"""What a cluster could leave behind on the host, as text that can be compared."""

import re
import subprocess
from pathlib import Path

# What a kubelet or kube-proxy on the machine itself would change.
_SYSCTLS = (
    "kernel.keys.root_maxbytes",
    "kernel.keys.root_maxkeys",
    "kernel.panic",
    "kernel.panic_on_oops",
    "net.bridge.bridge-nf-call-iptables",
    "net.ipv4.ip_forward",
    "net.netfilter.nf_conntrack_max",
    "net.netfilter.nf_conntrack_tcp_timeout_established",
    "vm.overcommit_memory",
    "vm.panic_on_oom",
)

# Other tests of this machine may run at the same time. /run/netns stays mounted once anybody has named a namespace.
_OTHERS = re.compile(r"weft-(?!cluster)|/run/weft/|/run/netns")


def snapshot() -> dict[str, list[str]]:
    """Links, routes, rules, packet filters, mounts, cgroups of the first level, sysctls, our folder."""
    found = {
        "links": _output("ip", "-brief", "link"),
        "routes": _output("ip", "route", "show", "table", "all"),
        "routes6": _output("ip", "-6", "route", "show", "table", "all"),
        "rules": _output("ip", "rule"),
        "nftables": _output("nft", "list", "ruleset"),
        "mounts": sorted(line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()),
        "cgroups": sorted(str(path) for path in Path("/sys/fs/cgroup").glob("*/*/")),
        "sysctls": [_sysctl(name) for name in _SYSCTLS],
        "state": [str(path) for path in Path("/run").glob("weft-cluster*")],
    }
    return {what: [line for line in lines if not _OTHERS.search(line)] for what, lines in found.items()}


def _output(*command: str) -> list[str]:
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()


def _sysctl(name: str) -> str:
    path = Path("/proc/sys", *name.split("."))
    return f"{name} = {path.read_text().strip() if path.exists() else '(not there)'}"
