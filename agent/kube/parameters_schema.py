"""What the API server's schema of MeshParameters refuses, and types cannot express.

The bounds are those of `daemonset/base/meshparameters.yaml`.
"""

import re
from collections.abc import Iterator
from ipaddress import ip_network

from agent.model.limits import NAME, Violation, too_many, twice
from agent.model.parameters import MeshEncryption, MeshParameters
from agent.model.weft_node import MAX_KEY_GENERATION

MAX_EXEMPT = 64
MAX_POD_CIDRS = 16
MAX_CA_GENERATION = 1_000_000
# https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md#21-trust-domain
TRUST_DOMAIN = re.compile(r"[a-z0-9._-]{1,255}")


def parameters_violations(parameters: MeshParameters) -> Iterator[Violation]:
    """The rules that MeshParameters break."""
    spec = parameters.spec
    if not TRUST_DOMAIN.fullmatch(spec.trust_domain):
        yield "spec.trustDomain", f"{spec.trust_domain[:80]!a} is not a trust domain"
    field, exempt = "spec.authorization.exemptNamespaces", spec.authorization.exempt_namespaces
    yield from too_many(field, exempt, MAX_EXEMPT)
    yield from twice(field, exempt)
    for position, name in enumerate(exempt):
        if not NAME.fullmatch(name) or "." in name:
            yield f"{field}[{position}]", f"{name[:80]!a} is not a DNS label"
    yield from _encryption_violations(spec.encryption)
    generation = spec.certificates.ca_generation
    if not 1 <= generation <= MAX_CA_GENERATION:
        yield "spec.certificates.caGeneration", f"{generation} is not between 1 and {MAX_CA_GENERATION}"


def _encryption_violations(encryption: MeshEncryption) -> Iterator[Violation]:
    field, cidrs = "spec.encryption.podCIDRs", encryption.pod_cidrs
    yield from too_many(field, cidrs, MAX_POD_CIDRS)
    yield from twice(field, cidrs)
    for position, cidr in enumerate(cidrs):
        if not _is_cidr(cidr):
            yield f"{field}[{position}]", f"{cidr[:80]!a} is not a CIDR without host bits"
    if encryption.mode == "Strict" and not cidrs:
        yield field, "is required by mode Strict"
    if not 1 <= encryption.key_generation <= MAX_KEY_GENERATION:
        yield "spec.encryption.keyGeneration", f"{encryption.key_generation} is not between 1 and {MAX_KEY_GENERATION}"


def _is_cidr(text: str) -> bool:
    """Whether it is a CIDR with its prefix length, as `cidr()` of CEL in Kubernetes reads it."""
    try:
        return "/" in text and str(ip_network(text)) == text.lower()
    except ValueError:
        return False
