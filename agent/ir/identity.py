"""Who a pod is, and the numbers that names have in the kernel."""

import hashlib
from dataclasses import dataclass


def name_id(name: str) -> int:
    """A namespace's, Service's or workload's number: 64 bits of its name's hash, never 0. No two kinds have names in
    common: a namespace's has no slash, a workload's begins with its kind and a space.

    Being computed rather than allocated it is the same on every node and after every restart; with a million names
    the chance of any collision is 3e-8.
    """
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little") or 1


def kind_id(kind: str, name: str) -> int:
    """The number of an object whose kind is hashed with its name: a Service mostly has the name of its workload.

    Services' and namespaces' numbers are hashes of their names alone (`name_id`): they are in maps that outlive an
    upgrade. Every further kind is numbered by this.
    """
    return name_id(f"{kind} {name}")


@dataclass(frozen=True, slots=True, order=True)
class Workload:
    """What a pod is one of, as dashboards know it: a Deployment, say, with its canonical service and revision."""

    namespace: str
    name: str
    service: str
    revision: str

    @property
    def id(self) -> int:
        """Its number in the kernel. Workloads of one name in a namespace are one, as they are to Istio."""
        return kind_id("workload", f"{self.namespace}/{self.name}")


@dataclass(frozen=True, slots=True, order=True)
class Identity:
    """Who a pod is to others: its namespace, its service account and its workload.

    The service account is what Kubernetes vouches for; the workload is what its labels and owner say. It is empty where
    the pod's spec names none, as in manifests that no API server has completed.
    """

    namespace: str
    service_account: str
    workload: Workload

    def __str__(self) -> str:
        """For people: `shop/default (web)`."""
        return f"{self.namespace}/{self.service_account or '?'} ({self.workload.name})"
