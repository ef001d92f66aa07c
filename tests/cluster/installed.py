"""What is said of itself by the weft that runs on the cluster."""

import json
import re
import subprocess
import sys
from typing import Any

import cluster
import install

UP = (sys.executable, cluster.__file__, "up")
WEFT = "/opt/weft/bin/weft"
METRICS_PORT = 9464
AWAY = {"ready": False, "pods": [], "waypoint": {"connected": False}}


def kubectl(*arguments: str) -> str:
    """In weft's namespace."""
    return cluster.kubectl(f"--namespace={install.NAMESPACE}", *arguments)


def pod(workload: str, node: str) -> Any:
    """A DaemonSet's pod on a node, as the API server has it; raises StopIteration when there is none."""
    selector = f"--selector=app.kubernetes.io/name={workload}"
    found = kubectl("get", "pods", selector, f"--field-selector=spec.nodeName={node}", "--output=json")
    return next(item for item in json.loads(found)["items"] if "deletionTimestamp" not in item["metadata"])


def status(node: str) -> Any:
    """`weft status` of a node; what an agent that is away would say, `AWAY`."""
    try:
        return json.loads(weft(node, "status", "--output=json"))
    except (subprocess.CalledProcessError, StopIteration):
        return AWAY


def weft(node: str, *arguments: str) -> str:
    """What a command of weft prints, run beside the node's agent. Raises CalledProcessError when it cannot."""
    try:
        return kubectl("exec", pod("weft-agent", node)["metadata"]["name"], "--", WEFT, *arguments)
    except subprocess.CalledProcessError as error:  # with what it printed, when it had something to complain of
        if error.stdout:
            return str(error.stdout)
        raise


def metric(node: str, name: str, **labels: str) -> float:
    """The sum of an agent's samples with these labels."""
    path = f"/api/v1/namespaces/{install.NAMESPACE}/pods/{pod('weft-agent', node)['metadata']['name']}:{METRICS_PORT}"
    text = cluster.kubectl("get", "--raw", f"{path}/proxy/metrics")
    samples = re.findall(rf"^{name}(?:{{(.*)}})? (\S+)$", text, re.MULTILINE)
    wanted = [f'{label}="{value}"' for label, value in labels.items()]
    return sum(float(value) for found, value in samples if all(label in found for label in wanted))
