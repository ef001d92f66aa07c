"""Who the reports are of: the settings in implementation.toml, as the suite's flags and as the reports' place."""

import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("implementation.toml")
# The suite does not run without these. A name below `.invalid` belongs to nobody (RFC 2606).
PLACEHOLDERS = {
    "organization": "not-filled-in",
    "url": "https://not-filled-in.invalid",
    "contact": ["not-filled-in"],
}


def settings() -> dict[str, Any]:
    """The implementation as a report names it, with placeholders for what nobody filled in."""
    read = tomllib.loads(FILE.read_text())
    defaults = {**PLACEHOLDERS, "version": f"v{version('weft')}"}
    return {name: value or defaults[name] for name, value in read.items()}


def missing() -> list[str]:
    """The settings that upstream requires and that are placeholders."""
    return [name for name, placeholder in PLACEHOLDERS.items() if settings()[name] == placeholder]


def flags() -> list[str]:
    """The suite's flags."""
    found = {name: ",".join(value) if isinstance(value, list) else value for name, value in settings().items()}
    return [f"--{name}={value}" for name, value in sorted(found.items())]


def report(folder: Path, gateway_api: str, channel: str) -> Path:
    """A report's file, laid out and named as the directory `conformance/reports` of the Gateway API asks."""
    found = settings()
    return folder / f"v{gateway_api}" / found["project"] / f"{channel}-{found['version']}-default-report.yaml"
