"""AuthorizationPolicies for tests, as documents and as values."""

from typing import Any

from agent.kube.decode import decode
from agent.model.authorization import KIND, AuthorizationPolicy
from agent.model.meta import Key

VERSION = "weft.dev/v1alpha1"
POLICY = Key(KIND, "app", "p")
WEB = {"matchLabels": {"app": "web"}}


def policy_document(*rules: Any, selector: Any = None, name: str = "p", **spec: Any) -> dict[str, Any]:
    """A policy of the namespace app with these rules; it selects all of its pods unless a selector is given."""
    head = {"targetRefs": [{"kind": "Pod", "selector": selector or {}}], "action": "ALLOW"}
    return {
        "apiVersion": VERSION,
        "kind": KIND,
        "metadata": {"name": name, "namespace": "app", "generation": 1},
        "spec": {**head, "enforcementLevel": "Network", "rules": list(rules), **spec},
    }


def policy(*rules: Any, selector: Any = None, name: str = "p") -> AuthorizationPolicy:
    """The same, decoded."""
    (found,) = decode(policy_document(*rules, selector=selector, name=name), "here")
    assert isinstance(found, AuthorizationPolicy), found
    return found


def from_account(name: str, namespace: str | None = None) -> dict[str, Any]:
    """A source."""
    account = {"name": name} if namespace is None else {"name": name, "namespace": namespace}
    return {"type": "ServiceAccount", "serviceAccount": account}


def from_spiffe(uri: str) -> dict[str, Any]:
    """A source."""
    return {"type": "SPIFFE", "spiffe": uri}
