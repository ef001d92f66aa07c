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

from agent.cli.ask import ask
from agent.cli.output import print_error
from agent.explain.connection import ExplainError
from agent.explain.query import TrafficQuery
from agent.explain.trace import TraceRequest
from agent.settings import STATUS_SOCKET

LAB_SECONDS, CLUSTER_SECONDS = 15.0, 120.0
REQUEST_SECONDS = 60
PAUSE_SECONDS = 0.2
# What curl would add by itself, which the question does not say.
SILENT = ("Accept", "User-Agent")


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request to be sent from a pod; `headers` are those of the command line, without `x-request-id`."""

    query: TrafficQuery
    headers: tuple[str, ...]
    request_id: str


def new_request_id() -> str:
    """A unique `x-request-id`."""
    return f"weft-explain-{secrets.token_hex(8)}"


def request_id_headers(request_id: str) -> list[str]:
    """The header that shows it, where there is one."""
    return [f"x-request-id: {request_id}"] if request_id else []


def try_out(attempt: Attempt, state: Path, document: dict[str, Any]) -> dict[str, Any]:
    """Send it from the pod of `document`; returns what the agent observed of it. Raises `ExplainError`."""
    if document["waypoint"] is None:
        raise ExplainError("--live: the kernel does not send it to the waypoint, so nobody tells of a request")
    if attempt.query.scheme != "http":
        raise ExplainError("--live: the waypoint does not look into TLS, so nobody tells of a request")
    if any(header.lower().startswith("x-request-id:") for header in attempt.headers):
        raise ExplainError("--live: x-request-id is what the request is known by, leave it out")
    status = _send(attempt, state, document["pod"])
    patience = CLUSTER_SECONDS if status is None else LAB_SECONDS
    found = _told(state, TraceRequest(document["frontend"]["frontend"], attempt.query, attempt.request_id), patience)
    if found["client"] not in document["client"]["addresses"]:
        found["differences"].append(f"it came from {found['client']}, which is not {document['pod']}")
    if status not in (None, found["status"]):
        found["differences"].append(f"the client got {status}, not {found['status']}")
    return {**found, "pod": _pod_of(document, found["endpoint"])}


def command(attempt: Attempt) -> list[str]:
    """What sends exactly this request and prints the status of its answer."""
    query = attempt.query
    said = {header.partition(":")[0].strip().lower() for header in attempt.headers}
    unsaid = [f"{name}:" for name in SILENT if name.lower() not in said]
    # To curl a name without a value takes a header away, but for a semicolon.
    given = [f"{item[:-1]};" if item.endswith(":") else item for item in map(str.strip, attempt.headers)]
    headers = [word for header in (*given, *unsaid, *request_id_headers(attempt.request_id)) for word in ("-H", header)]
    method = ["--head"] if query.request.method == "HEAD" else ["-X", query.request.method]
    quiet = ["-sS", "-g", "--path-as-is", "-m", str(REQUEST_SECONDS), "-o", "/dev/null", "-w", "%{http_code}"]
    return ["curl", *quiet, *method, *headers, query.url]


def _send(attempt: Attempt, state: Path, pod: str) -> int | None:
    """The status that the client got; None where somebody else has to send it."""
    argv = command(attempt)
    if not (state / "manifests").is_dir():
        _have_sent(argv, pod)
        return None
    # Only here: the lab's modules are 10 MB, which no other way to ask needs.
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


def _have_sent(argv: list[str], pod: str) -> None:
    """Say who has to send it, and how."""
    namespace, _, name = pod.partition("/")
    kubectl = shlex.join(["kubectl", "exec", "-n", namespace, name, "--", *argv])
    print_error(f"weft may not enter pods; send it within {CLUSTER_SECONDS:.0f} s:\n{kubectl}")


def _told(state: Path, query: TraceRequest, patience: float) -> dict[str, Any]:
    end = time.monotonic() + patience
    while time.monotonic() < end:
        found = ask(state / STATUS_SOCKET, query.path())["observed"]
        if found is not None:
            return dict(found)
        time.sleep(PAUSE_SECONDS)
    raise ExplainError(f"--live: the waypoint has told of no such request for {patience:.0f} s")


def _pod_of(document: dict[str, Any], endpoint: str | None) -> str | None:
    """The pod behind an endpoint, where it is one of this node."""
    shares = document["waypoint"]["shares"]
    found = {place: pod for share in shares for place, pod in zip(share["endpoints"], share["pods"], strict=True)}
    return found.get(endpoint) if endpoint else None
