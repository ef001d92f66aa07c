"""Who a pod is, and the numbers that names have in the kernel."""

import hashlib
from dataclasses import dataclass


def name_id(name: str) -> int:
    """The id of a namespace, Service or workload: 64 bits of the hash of its name, never 0. No two kinds have names in
    common: a namespace's has no slash, a workload's begins with its kind and a space.

    It is computed, not allocated, so it is the same on every node and after every restart. With a million names the
    chance of any collision is 3e-8.
    """
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little") or 1


def kind_id(kind: str, name: str) -> int:
    """The id of an object by the hash of its kind and name: a Service often has the name of its workload.

    Ids of Services and namespaces are hashes of their names alone (`name_id`), because they are in maps that outlive
    an upgrade. Every other kind has an id of this form.
    """
    return name_id(f"{kind} {name}")


@dataclass(frozen=True, slots=True, order=True)
class Workload:
    """The workload of a pod, as dashboards show it: such as a Deployment, with its canonical service and revision."""

    namespace: str
    name: str
    service: str
    revision: str

    @property
    def id(self) -> int:
        """Its id in the kernel. Workloads of one name in a namespace are one, as in Istio."""
        return kind_id("workload", f"{self.namespace}/{self.name}")


@dataclass(frozen=True, slots=True, order=True)
class Identity:
    """The identity of a pod: its namespace, its service account and its workload.

    Kubernetes authenticates the service account; the workload follows from labels and owner. The service account is
    empty where the pod's spec has none, as in manifests that no API server has completed.
    """

    namespace: str
    service_account: str
    workload: Workload

    def __str__(self) -> str:
        """For people: `shop/default (web)`."""
        return f"{self.namespace}/{self.service_account or '?'} ({self.workload.name})"


XFCC_HEADER = "x-forwarded-client-cert"
"""The header with the identity of a request's client, which servers get if their Service asks for it."""


def xfcc_value(namespace: str, account: str, trust_domain: str) -> str:
    """Its value: an element in Envoy's form. There is no certificate, so it has no more than the URI."""
    return f"URI={spiffe_id(namespace, account, trust_domain)}"


PROXY_TLV = 0xE5
"""The type of the TLV with the SPIFFE ID of a connection's client, in the header of the PROXY protocol (v2). It is of
the range for applications, 0xE0 to 0xEF, and none that a cloud uses: 0xE0 (Google), 0xEA (Amazon), 0xEE (Azure).
"""


def spiffe_id(namespace: str, account: str, trust_domain: str) -> str:
    """The SPIFFE ID of a service account."""
    return f"spiffe://{trust_domain}/ns/{namespace}/sa/{account}"
