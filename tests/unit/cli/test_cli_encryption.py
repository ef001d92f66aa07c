"""`weft status --prove-encryption`: what it prints, and its exit code."""

from typing import Any

import pytest

from agent.cli import encryption
from agent.cli.output import Output
from agent.settings import DEFAULT_STATE

LINK = {"link": "eth0", "error": "", "plain": 0, "outsideScope": 7, "encrypted": 5}
PROOF: dict[str, Any] = {
    "seconds": 5,
    "podCIDRs": ["10.244.0.0/16"],
    "links": [LINK],
    "plain": 0,
    "outsideScope": 7,
    "encrypted": 5,
    "flows": [],
    "framesOfOtherFlows": 0,
    "nodeAddressesLeftOut": 0,
}
FLOW = {
    "link": "eth0",
    "direction": "sent",
    "source": {"address": "10.244.0.1", "pod": "app/a", "node": "n1"},
    "destination": {"address": "10.244.1.1", "pod": "", "node": "n2"},
    "protocol": "TCP",
    "framesSeen": 2,
}


@pytest.mark.parametrize(
    ("changes", "code", "lines"),
    [
        ({}, 0, ["eth0  0      5          7"]),
        ({"encrypted": 0}, 0, ["none of pods were sent to another node, or received: this shows nothing"]),
        (
            {"plain": 2, "flows": [FLOW], "framesOfOtherFlows": 9},
            3,
            [
                "eth0  sent       app/a (10.244.0.1)  a pod of n2 (10.244.1.1)  TCP       2",
                "frames of flows that are not shown: 9",
            ],
        ),
        (
            {"links": [LINK | {"error": "Network is down"}]},
            3,
            ["eth0  0      5          7              Network is down"],
        ),
        ({"nodeAddressesLeftOut": 4}, 0, ["addresses of nodes that are not looked for outside scope: 4"]),
    ],
)
def test_a_proof(
    changes: dict[str, Any],
    code: int,
    lines: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(encryption, "get", lambda *_: PROOF | changes)
    with pytest.raises(SystemExit) as end:
        encryption.prove(DEFAULT_STATE, 5, Output.TEXT)
    shown = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert (end.value.code, shown[0]) == (code, "frames between nodes, 5 s at eth0")
    assert set(lines) <= set(shown), shown
