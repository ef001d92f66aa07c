"""A node with two pods of one workload, one Service, and a fake of the map of flows."""

from collections.abc import Iterable
from dataclasses import replace

from agent.ir.flow_tables import FlowKey, FlowSums
from agent.ir.identity import Workload
from agent.ir.plan import PodPlan
from agent.ir.tables import Mode, PodFlag, Protocol, Reason
from agent.model.meta import Key
from agent.telemetry.name_index import LiveObjects, NameIndex, service_id

FACE = Workload("faces", "face", "face-app", "v1")
SMILEY = Key("Service", "faces", "smiley")
KEY = FlowKey(FACE.id, service_id(SMILEY), Reason.FORWARDED, 0, Protocol.TCP)


def plan(name: str, workload: Workload = FACE) -> PodPlan:
    return PodPlan(Key("Pod", workload.namespace, name), workload.namespace, Mode.L4, PodFlag.NONE, (), workload)


CLIENT = replace(plan("face-1"), addresses=("10.1.0.9", "fd00::9"))


class KnownObjects:
    """The pods and Services that exist; tests change them."""

    def __init__(self) -> None:
        self.pods = {41: plan("face-1"), 42: plan("face-2")}
        self.services = {SMILEY}
        self.looks = 0
        self.names = NameIndex(self.known)

    def known(self) -> LiveObjects:
        self.looks += 1
        return self.pods, self.services


class FakeTable:
    """`weft_flows` in a dictionary."""

    capacity = 4096

    def __init__(self, rows: dict[FlowKey, FlowSums]) -> None:
        self.rows = rows

    def load(self) -> dict[FlowKey, FlowSums]:
        return dict(self.rows)

    def delete(self, keys: Iterable[FlowKey]) -> None:
        for key in keys:
            self.rows.pop(key, None)
