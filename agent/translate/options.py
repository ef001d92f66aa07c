"""What translation depends on beside the world."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Options:
    """This node's name and zone, empty where not known, and whether labels may enrol pods of `kube-system`."""

    node: str = ""
    enrol_kube_system: bool = False
    zone: str = ""
