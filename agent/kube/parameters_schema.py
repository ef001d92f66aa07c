"""What the API server's schema of MeshParameters refuses, and types cannot express.

The bounds are those of `daemonset/base/meshparameters.yaml`.
"""

import re
from collections.abc import Iterator

from agent.model.limits import NAME, Violation, too_many, twice
from agent.model.parameters import MeshParameters

MAX_EXEMPT = 64
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
