"""Sends the request that `weft explain --live` explains, and waits until the waypoint reports it.

An `x-request-id` of its own identifies the request. It has to be sent from the pod: in a lab, the command enters the
pod's network namespace. In Kubernetes this needs `pods/exec`, which the agent's account does not have: there, the
command is printed for the user to run, and its result is awaited.
"""

import secrets
import shlex
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.cli.agent_client import get
from agent.cli.output import print_error
from agent.explain.connection import ExplainError
from agent.explain.query import TrafficQuery
from agent.explain.trace import TraceRequest
from agent.ir.access_log import EXPLAIN
from agent.settings import STATUS_SOCKET

LAB_SECONDS, CLUSTER_SECONDS = 15.0, 120.0
REQUEST_SECONDS = 60
PAUSE_SECONDS = 0.2
# Headers that curl adds by itself. They are suppressed, because the explained request does not have them.
CURL_HEADERS = ("Accept", "User-Agent")


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request to be sent from a pod; `headers` are those of the command line, without `x-request-id`."""

    query: TrafficQuery
    headers: tuple[str, ...]
    request_id: str


def new_request_id() -> str:
    """A unique `x-request-id`."""
    return f"{EXPLAIN}{secrets.token_hex(8)}"


def request_id_headers(request_id: str) -> list[str]:
    """The header with the request id, if there is one."""
    return [f"x-request-id: {request_id}"] if request_id else []


def send_live(attempt: Attempt, state: Path, document: dict[str, Any]) -> dict[str, Any]:
    """Send the request from the pod of `document`. Returns what the agent observed. Raises `ExplainError`."""
    if document["waypoint"] is None:
        raise ExplainError("--live: the connection does not go through the waypoint, so no access log has the request")
    if attempt.query.scheme != "http":
        raise ExplainError("--live: the waypoint does not decrypt TLS, so no access log has the request")
    if any(header.lower().startswith("x-request-id:") for header in attempt.headers):
        raise ExplainError("--live: omit the header x-request-id, weft sets it to identify the request")
    status = _send(attempt, state, document["pod"])
    patience = CLUSTER_SECONDS if status is None else LAB_SECONDS
    found = _observed(
        state,
        TraceRequest(document["frontend"]["frontend"], attempt.query.of_pod(document["pod"]), attempt.request_id),
        patience,
    )
    if found["client"] not in document["client"]["addresses"]:
        found["differences"].append(f"the request came from {found['client']}, which is not {document['pod']}")
    if status not in (None, found["status"]):
        found["differences"].append(f"the client got {status}, not {found['status']}")
    return {**found, "pod": _pod_of(document, found["endpoint"])}


def command(attempt: Attempt) -> list[str]:
    """The command that sends exactly this request, and prints the response's status."""
    query = attempt.query
    named = {header.partition(":")[0].strip().lower() for header in attempt.headers}
    suppressed = [f"{name}:" for name in CURL_HEADERS if name.lower() not in named]
    # In curl, `Name:` removes a header, and `Name;` sends it empty.
    given = [f"{item[:-1]};" if item.endswith(":") else item for item in map(str.strip, attempt.headers)]
    headers = [
        word for header in (*given, *suppressed, *request_id_headers(attempt.request_id)) for word in ("-H", header)
    ]
    method = ["--head"] if query.request.method == "HEAD" else ["-X", query.request.method]
    quiet = ["-sS", "-g", "--path-as-is", "-m", str(REQUEST_SECONDS), "-o", "/dev/null", "-w", "%{http_code}"]
    return ["curl", *quiet, *method, *headers, query.url]


def _send(attempt: Attempt, state: Path, pod: str) -> int | None:
    """The status that the client got; None where the user has to send the request."""
    argv = command(attempt)
    if not (state / "manifests").is_dir():
        _print_command(argv, pod)
        return None
    # Imported only here: the lab's modules take 10 MB.
    from agent.lab import lifecycle  # noqa: PLC0415
    from agent.lab.paths import LabPaths  # noqa: PLC0415

    try:
        entered, environment = lifecycle.exec_command(LabPaths(state.name), pod, argv)
    except (lifecycle.LabError, ValueError) as error:
        raise ExplainError(f"--live: {error}") from error
    done = subprocess.run(entered, env=environment, text=True, capture_output=True, check=False)
    if done.returncode:
        raise ExplainError(f"--live: the request failed in {pod}: {done.stderr.strip()}")
    return int(done.stdout)


def _print_command(argv: list[str], pod: str) -> None:
    """Print the command for the user to run."""
    namespace, _, name = pod.partition("/")
    kubectl = shlex.join(["kubectl", "exec", "-n", namespace, name, "--", *argv])
    print_error(f"weft has no permission to run commands in pods; run this within {CLUSTER_SECONDS:.0f} s:\n{kubectl}")


def _observed(state: Path, query: TraceRequest, patience: float) -> dict[str, Any]:
    end = time.monotonic() + patience
    while time.monotonic() < end:
        found = get(state / STATUS_SOCKET, query.path())["observed"]
        if found is not None:
            return dict(found)
        time.sleep(PAUSE_SECONDS)
    raise ExplainError(f"--live: the waypoint did not log the request within {patience:.0f} s")


def _pod_of(document: dict[str, Any], endpoint: str | None) -> str | None:
    """The pod with this endpoint, if it is on this node."""
    shares = document["waypoint"]["shares"]
    found = {address: pod for share in shares for address, pod in zip(share["endpoints"], share["pods"], strict=True)}
    return found.get(endpoint) if endpoint else None
