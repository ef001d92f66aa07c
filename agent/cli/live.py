"""Sending the request that `weft explain --live` explains, and waiting until the waypoint tells of it.

It bears a mark, so that it is known among others. A pod's own connection is what is to be tried: a lab enters the pod
for it. In Kubernetes that is for those who may (`pods/exec`), which the agent's account does not: the command is said,
and what it did is waited for.
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
from agent.explain.query import Question
from agent.explain.trace import Inquired
from agent.settings import STATUS_SOCKET

LAB_SECONDS, CLUSTER_SECONDS = 15.0, 120.0
REQUEST_SECONDS = 60
PAUSE_SECONDS = 0.2
# What curl would add by itself, which the question does not say.
SILENT = ("Accept", "User-Agent")


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request to be sent from a pod; `headers` as on the command line, the mark not among them."""

    question: Question
    headers: tuple[str, ...]
    mark: str


def new_mark() -> str:
    """A mark that no other request bears."""
    return f"weft-explain-{secrets.token_hex(8)}"


def marked(mark: str) -> list[str]:
    """The header that shows it, where there is one."""
    return [f"x-request-id: {mark}"] if mark else []


def try_out(attempt: Attempt, state: Path, document: dict[str, Any]) -> dict[str, Any]:
    """Send it from the pod that `document` is about; what happened, as the agent says it. Raises `ExplainError`."""
    if document["waypoint"] is None:
        raise ExplainError("--live: the kernel does not send it to the waypoint, so nobody tells of a request")
    if attempt.question.scheme != "http":
        raise ExplainError("--live: the waypoint does not look into TLS, so nobody tells of a request")
    if any(header.lower().startswith("x-request-id:") for header in attempt.headers):
        raise ExplainError("--live: x-request-id is what the request is known by, leave it out")
    status = _send(attempt, state, document["pod"])
    patience = CLUSTER_SECONDS if status is None else LAB_SECONDS
    found = _told(state, Inquired(document["frontend"]["frontend"], attempt.question, attempt.mark), patience)
    if found["client"] not in document["client"]["addresses"]:
        found["differences"].append(f"it came from {found['client']}, which is not {document['pod']}")
    if status not in (None, found["status"]):
        found["differences"].append(f"the client got {status}, not {found['status']}")
    return {**found, "pod": _pod_of(document, found["endpoint"])}


def command(attempt: Attempt) -> list[str]:
    """What sends exactly this request and prints the status of its answer."""
    asked = attempt.question
    said = {header.partition(":")[0].strip().lower() for header in attempt.headers}
    unsaid = [f"{name}:" for name in SILENT if name.lower() not in said]
    # To curl a name without a value takes a header away, but for a semicolon.
    given = [f"{item[:-1]};" if item.endswith(":") else item for item in map(str.strip, attempt.headers)]
    headers = [word for header in (*given, *unsaid, *marked(attempt.mark)) for word in ("-H", header)]
    method = ["--head"] if asked.request.method == "HEAD" else ["-X", asked.request.method]
    quiet = ["-sS", "-g", "--path-as-is", "-m", str(REQUEST_SECONDS), "-o", "/dev/null", "-w", "%{http_code}"]
    return ["curl", *quiet, *method, *headers, asked.url]


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


def _told(state: Path, asked: Inquired, patience: float) -> dict[str, Any]:
    end = time.monotonic() + patience
    while time.monotonic() < end:
        found = ask(state / STATUS_SOCKET, asked.path())["happened"]
        if found is not None:
            return dict(found)
        time.sleep(PAUSE_SECONDS)
    raise ExplainError(f"--live: the waypoint has told of no such request for {patience:.0f} s")


def _pod_of(document: dict[str, Any], endpoint: str | None) -> str | None:
    """The pod behind an endpoint, where it is one of this node."""
    shares = document["waypoint"]["shares"]
    found = {place: pod for share in shares for place, pod in zip(share["endpoints"], share["pods"], strict=True)}
    return found.get(endpoint) if endpoint else None
