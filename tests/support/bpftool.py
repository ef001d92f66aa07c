"""What bpftool shows of programs and maps."""

import json
import subprocess
from pathlib import Path
from typing import Any


def bpftool(*command: str | Path) -> Any:
    """The JSON of one bpftool command, which prints an empty line where there is nothing to list."""
    shown = subprocess.run(["bpftool", "--json", *command], check=True, capture_output=True).stdout
    return json.loads(shown.strip() or "[]")


def map_ids(folder: Path) -> dict[str, int]:
    """The kernel's ids of the maps that are pinned in a folder."""
    return {pin.name: bpftool("map", "show", "pinned", pin)["id"] for pin in folder.iterdir()}
