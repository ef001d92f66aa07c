"""`weft explain` in a lab."""

import json
import sys
from typing import Any

from support.node.lab_handle import LabHandle


def explain(mesh: LabHandle, *argv: str) -> Any:
    """The one answer, as JSON."""
    command = (sys.executable, "-m", "agent", "explain", "--state", str(mesh.paths.state), "-o", "json", *argv)
    (found,) = json.loads(mesh.node(*command).stdout)
    return found
