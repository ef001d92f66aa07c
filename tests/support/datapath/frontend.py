"""One frontend whose array tests change while a pod connects to it. Each call is compared with the oracle."""

import time
from dataclasses import dataclass
from errno import ECONNABORTED
from typing import Any

from agent.ir.tables import Action, FrontendAction, Protocol, Reason, ServiceRow, Slot
from agent.ir.tables import address_bytes as packed
from agent.kernel.oracle.decide import decide
from agent.kernel.oracle.query import SocketContext
from support.datapath.decision_cases import INDEX, Case, rows_for
from support.datapath.node import BACKEND_PORT, BACKENDS, VIP, VIP_PORT, Node, Pod

BASE, SERVICE = 64, 501


def never(address: str) -> Slot:
    """A column that gives all its draws to the first: its backend is there, and no draw finds it."""
    return Slot(packed(address), BACKEND_PORT, False, 0, 0)


@dataclass
class Frontend:
    """One frontend whose array the tests change, with a pod that calls it."""

    node: Node
    pod: Pod
    family: str
    protocol: str
    affinity_seconds: int = 0

    @property
    def backends(self) -> tuple[str, str, str]:
        return BACKENDS[Case("", Reason.FORWARDED, family=self.family).ip]

    @property
    def vip(self) -> str:
        return VIP[Case("", Reason.FORWARDED, family=self.family).ip]

    def has(self, *slots: Slot) -> None:
        """Replace the array of the frontend."""
        case = Case(
            "kept",
            Reason.FORWARDED,
            actions=(FrontendAction(Action.FORWARD, BASE, len(slots)),) * 2,
            protocol=self.protocol,
            family=self.family,
        )
        rows = rows_for(case, self.pod.cgroup_id, self.node.levels)
        rows.slots.update(enumerate(slots, BASE))
        rows.services[INDEX] = ServiceRow(SERVICE, affinity_seconds=self.affinity_seconds)
        rows.write(self.node.kernel)

    def reached(self, call: str, **more: Any) -> str:
        """The backend that a call reaches. Fails when the oracle, with the maps after the call, does not allow it."""
        address = f"::ffff:{self.vip}" if self.family == "mapped" else self.vip
        arguments = {"family": self.family, "protocol": self.protocol, "address": address, "port": VIP_PORT}
        answer = self.pod.call(call=call, **arguments, **more)
        pairs = self.node.udp_pairs(self.pod, answer["fd"]) if self.protocol == "UDP" and "fd" in answer else b""
        socket = SocketContext(answer["cookie"] if self.protocol == "UDP" else 0, time.monotonic_ns(), pairs)
        ids, tables = self.node.cgroup_ids(self.pod), self.node.kernel.encoded()
        verdict = decide(tables, ids, packed(self.vip), VIP_PORT, Protocol[self.protocol], socket)
        assert verdict.candidates == {(packed(answer["reached"][0]), answer["reached"][1])}
        return str(answer["reached"][0])

    def remains(self, name: str) -> bool:
        """Whether the connected socket with this name still works."""
        answer = self.pod.call(call="remain", family=self.family, protocol=self.protocol, keep=name)
        assert answer.get("errno") in (None, ECONNABORTED)
        return "reached" in answer
