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


def application_document(*rules: Any, service: str = "web", name: str = "p", **spec: Any) -> dict[str, Any]:
    """A policy of the level Application for a Service of the namespace app."""
    head = {"targetRefs": [{"kind": "Service", "name": service}], "enforcementLevel": "Application"}
    return policy_document(*rules, name=name, **(head | spec))


def application_policy(*rules: Any, service: str = "web", name: str = "p") -> AuthorizationPolicy:
    """The same, decoded."""
    (found,) = decode(application_document(*rules, service=service, name=name), "here")
    assert isinstance(found, AuthorizationPolicy), found
    return found


def http(**attributes: Any) -> dict[str, Any]:
    """A rule about HTTP without sources. A path is a pair of type and value, a header one of name and value."""
    made: dict[str, Any] = {"methods": attributes["methods"]} if "methods" in attributes else {}
    if "paths" in attributes:
        made["paths"] = [{"type": kind, "value": value} for kind, value in attributes["paths"]]
    if "headers" in attributes:
        made["headers"] = [{"name": name, "value": value} for name, value in attributes["headers"]]
    return {"httpAttributes": made}


# Rules that the API server and weft refuse, with the field below the rule.
BAD_HTTP: list[tuple[dict[str, Any], str]] = [
    (http(methods=[]), "httpAttributes.methods"),
    (http(methods=["get"]), "httpAttributes.methods[0]"),
    (http(methods=["GET"] * 17), "httpAttributes.methods"),
    (http(paths=[]), "httpAttributes.paths"),
    (http(paths=[("Exact", "/")] * 17), "httpAttributes.paths"),
    (http(paths=[("RegularExpression", "/")]), "httpAttributes.paths[0].type"),
    *(
        (http(paths=[("PathPrefix", path)]), "httpAttributes.paths[0].value")
        for path in ("", "a", "/a?b", "/a#b", "/a//b", "/a/../b", "/a/.", "/%2e", "/a%2Fb", "/\\", "/" + "a" * 1024)
    ),
    (http(headers=[]), "httpAttributes.headers"),
    (http(headers=[("x", "y"), ("x", "z")]), "httpAttributes.headers[1]"),
    (http(headers=[(f"x{n}", "y") for n in range(17)]), "httpAttributes.headers"),
    *((http(headers=[(name, "y")]), "httpAttributes.headers[0].name") for name in ("", ":path", "a b", "Host")),
    *((http(headers=[("x", value)]), "httpAttributes.headers[0].value") for value in ("", " a", "a" * 65, "\n", "ä")),
]


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


def versioned(name: str = "p", generation: int = 1, uid: str = "u1", **annotations: str) -> AuthorizationPolicy:
    """A policy of the namespace app in one version. Annotations are in the group weft.dev."""
    found = policy_document(name=name)
    found["metadata"] |= {"generation": generation, "uid": uid}
    found["metadata"]["annotations"] = {f"weft.dev/{key}": value for key, value in annotations.items()}
    (made,) = decode(found, "here")
    assert isinstance(made, AuthorizationPolicy), made
    return made
