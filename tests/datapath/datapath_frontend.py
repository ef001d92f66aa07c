"""One frontend whose array tests change while a pod calls it; each call is held against the oracle."""

import time
from dataclasses import dataclass
from errno import ECONNABORTED

from datapath_node import BACKEND_PORT, BACKENDS, VIP, VIP_PORT, Node, Pod
from decision_cases import INDEX, Case, rows_for

from agent.ir.tables import Action, FrontendAction, Protocol, Reason, ServiceRow, Slot
from agent.ir.tables import address_bytes as packed
from agent.kernel.oracle import SocketContext, decide

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
        """From now on the array is this."""
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

    def reached(self, call: str, **more) -> str:
        """Whom a call reaches, as the oracle says too, from the tables as they are after it."""
        address = f"::ffff:{self.vip}" if self.family == "mapped" else self.vip
        told = {"family": self.family, "protocol": self.protocol, "address": address, "port": VIP_PORT}
        answer = self.pod.call(call=call, **told, **more)
        socket = SocketContext(answer["cookie"] if self.protocol == "UDP" else 0, time.monotonic_ns())
        ids, tables = self.node.cgroup_ids(self.pod), self.node.kernel.encoded()
        verdict = decide(tables, ids, packed(self.vip), VIP_PORT, Protocol[self.protocol], socket)
        assert verdict.candidates == {(packed(answer["reached"][0]), answer["reached"][1])}
        return answer["reached"][0]

    def remains(self, name: str) -> bool:
        """Whether a connected socket that was kept under this name still works."""
        answer = self.pod.call(call="remain", family=self.family, protocol=self.protocol, keep=name)
        assert answer.get("errno") in (None, ECONNABORTED)
        return "reached" in answer
