"""A client's view of the waypoint, reached by the whole way (cluster IP, kernel, Envoy), beside that of a plain Envoy.

Two public sets of cases ask both: h2spec, and gunicorn's collection of valid and invalid HTTP/1.1 requests, sent as raw
bytes. On a machine that has neither they are fetched (from the Go module proxy, and PyPI) and h2spec is built: with the
Go toolchain, which is fetched too, it takes two minutes, once.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from builds import H2SPEC, program
from packages import source_of
from prepare import RAW_REQUESTS

from agent.lab import lifecycle
from agent.waypoint.process import envoy_command
from support.node.lab_handle import LabFactory, LabHandle
from support.node.mesh import settle

pytestmark = pytest.mark.node
HERE = Path(__file__).parent
CLIENT = "app/client"
HOSTS = {"waypoint": "server.app", "plain": "10.244.9.2"}
H2SPEC_PARTS = (("generic", "hpack", "http2/3", "http2/4", "http2/7"), ("http2/5",), ("http2/6",), ("http2/8",))
# The server answers late: some cases break a rule after a request, and differ when its answer is there before them.
LATE = "/?wait=0.5"
# Envoy's own headers, which the waypoint does not add (`x-forwarded-proto` both do).
ADDED_BY_PLAIN = {"x-request-id", "x-envoy-expected-rq-timeout-ms", "x-forwarded-proto"}
# Why a request of gunicorn's shall not end as with a plain Envoy.
WANTED = {
    "HTTP/1.0 is served; Envoy says 426 unless it is told otherwise": [
        *(f"valid/{name}" for name in ("001", "008", "015", "017", "019", "020", "022", "024", "026", "040")),
        *("valid/040_compat", "valid/rfc9110_body_framing_http10_cl_01"),
        *(f"invalid/{name}" for name in ("006", "007", "008", "040", "chunked_05", "version_02")),
        "invalid/limit_header_default_01",
    ],
    "a thousand headers are served, not only a hundred: how many are too many is for the server to say": [
        "invalid/009",
    ],
}
PLAIN = """
apiVersion: v1
kind: Pod
metadata: {{name: plain, namespace: outside, annotations: {{lab.weft.dev/address: 10.244.9.2}}}}
spec: {{containers: [{{name: envoy, command: {}}}]}}
"""


@pytest.fixture(scope="module")
def mesh(make_lab: LabFactory) -> LabHandle:
    """An enrolled client, a server behind a Service with an HTTPRoute, and a plain Envoy before the same server."""
    lab = make_lab("same", [HERE / "conformance.yaml"], agent=True)
    lab.apply(PLAIN.format(json.dumps(envoy_command(HERE / "plain_envoy.yaml", 2))))
    settle(lab, lambda status: any(item["state"] == "ready" for item in status["waypoint"]["listeners"]))
    for host in HOSTS.values():
        answers = ("curl", "-sS", "-m", "5", f"http://{host}/")
        lab.wait_for(f"{host} answers", lambda answers=answers: not lab.exec(CLIENT, *answers, check=False).returncode)
    return lab


def h2spec(mesh: LabHandle, folder: Path) -> dict[str, dict[str, bool]]:
    """Which cases each side passes. Most of the time is spent in waiting, so that parts run at the same time."""
    running, reports = [], {side: [folder / f"{side}{part}.xml" for part in range(len(H2SPEC_PARTS))] for side in HOSTS}
    for side, host in HOSTS.items():
        for report, sections in zip(reports[side], H2SPEC_PARTS, strict=True):
            argv = [str(program(H2SPEC, "h2spec")), "-h", host, "-p", "80", "-P", LATE, "-j", str(report), *sections]
            command, environment = lifecycle.exec_command(mesh.paths, CLIENT, argv)
            running.append(subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL))
    assert {process.wait(300) for process in running} <= {0, 1}, "passed, or not all passed"
    return {side: dict(case for report in reports[side] for case in cases(report)) for side in HOSTS}


def cases(report: Path) -> Iterator[tuple[str, bool]]:
    """Each case's name, and whether it passed."""
    # h2spec writes what it received as it is, bytes that no XML may have among it.
    text = re.sub(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\xff]", b"?", report.read_bytes())
    for case in ElementTree.fromstring(text).iter("testcase"):
        assert case.find("skipped") is None
        yield f"{case.get('package')}: {case.get('classname')}", len(case) == 0


def raw(mesh: LabHandle) -> dict[str, dict[str, Any]]:
    """What becomes of each of gunicorn's requests at each side, without what is known to differ for all."""
    requests = source_of(*RAW_REQUESTS) / "tests/requests"
    out = mesh.exec(
        CLIENT, sys.executable, str(HERE / "programs" / "raw_http1.py"), str(requests), *HOSTS.values()
    ).stdout
    found = json.loads(out)
    for outcomes in found.values():
        for outcome in outcomes.values():
            outcome["seen"] = [as_sent(seen) for seen in outcome["seen"]]
    return {side: found[host] for side, host in HOSTS.items()}


def as_sent(seen: dict[str, Any]) -> list[Any]:
    """A request as the server saw it: of the connection nothing, of the headers what the client may have sent."""
    headers = [(name.lower(), value) for name, value in seen["headers"] if name.lower() not in ADDED_BY_PLAIN]
    named = sorted(headers, key=lambda header: header[0])
    return [seen["method"], seen["host"], seen["path"], seen["version"], seen["received"], named]


def told_apart(name: str, outcome: dict[str, Any]) -> bool:
    """Whether a valid request was answered well, and an invalid one was not."""
    statuses = outcome["statuses"]
    return (bool(statuses) and statuses[-1] < 400) == name.startswith("valid/")


def report(capsys: pytest.CaptureFixture[str], what: str, passed: dict[str, list[bool]]) -> None:
    with capsys.disabled():
        totals = (f"{side} passed {sum(all_)}, failed {len(all_) - sum(all_)}" for side, all_ in passed.items())
        print(f"\n{what}: {'; '.join(totals)}")


def differing(found: dict[str, dict[str, Any]]) -> set[str]:
    """Cases that did not end alike."""
    assert found["waypoint"].keys() == found["plain"].keys()
    return {name for name, end in found["waypoint"].items() if found["plain"][name] != end}


def test_h2spec(mesh: LabHandle, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = h2spec(mesh, tmp_path)
    report(capsys, "h2spec", {side: list(ends.values()) for side, ends in found.items()})
    assert len(found["plain"]) == 145
    assert differing(found) == set()


def test_http1(mesh: LabHandle, capsys: pytest.CaptureFixture[str]) -> None:
    found = raw(mesh)
    passed = {side: [told_apart(*item) for item in outcomes.items()] for side, outcomes in found.items()}
    report(capsys, "gunicorn's requests", passed)
    assert len(found["plain"]) == 143
    assert differing(found) == {name for names in WANTED.values() for name in names}
