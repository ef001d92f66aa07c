"""What the schemas of the route kinds forbid, field by field, and the nearest thing that they allow."""

from typing import Any

import pytest

from agent.kube.decode import decode
from agent.model.change import Problem
from agent.model.meta import Object


def decoded(kind: str, **rule: Any) -> Object | Problem:
    """A route of one rule."""
    metadata = {"name": "r", "namespace": "app"}
    version = "gateway.networking.k8s.io/v1"
    (found,) = decode({"apiVersion": version, "kind": kind, "metadata": metadata, "spec": {"rules": [rule]}}, "here")
    return found


def refused(kind: str, **rule: Any) -> str:
    """The field that is wrong, empty when none is."""
    found = decoded(kind, **rule)
    return found.field if isinstance(found, Problem) else ""


MIRROR = "spec.rules[0].filters[0].requestMirror"


@pytest.mark.parametrize("kind", ["HTTPRoute", "GRPCRoute"])
@pytest.mark.parametrize(
    ("share", "field"),
    [
        ({}, ""),
        ({"percent": 0}, ""),
        ({"percent": 100}, ""),
        ({"percent": -1}, f"{MIRROR}.percent"),
        ({"percent": 101}, f"{MIRROR}.percent"),
        ({"fraction": {"numerator": 0}}, ""),
        ({"fraction": {"numerator": 100}}, ""),
        ({"fraction": {"numerator": 101}}, f"{MIRROR}.fraction"),
        ({"fraction": {"numerator": 3, "denominator": 2}}, f"{MIRROR}.fraction"),
        ({"fraction": {"numerator": 2, "denominator": 2}}, ""),
        ({"fraction": {"numerator": 0, "denominator": 0}}, f"{MIRROR}.fraction.denominator"),
        ({"fraction": {"numerator": -1}}, f"{MIRROR}.fraction.numerator"),
        ({"fraction": {"denominator": 2}}, f"{MIRROR}.fraction"),
        ({"percent": 1, "fraction": {"numerator": 1}}, MIRROR),
    ],
)
def test_the_share_of_a_mirror(kind: str, share: dict[str, Any], field: str) -> None:
    mirror = {"backendRef": {"name": "copies", "port": 80}, **share}
    assert refused(kind, filters=[{"type": "RequestMirror", "requestMirror": mirror}]) == field


def test_a_mirror_has_a_backend() -> None:
    assert refused("HTTPRoute", filters=[{"type": "RequestMirror", "requestMirror": {}}]) == MIRROR


RETRY = "spec.rules[0].retry"


@pytest.mark.parametrize(
    ("retry", "field"),
    [
        ({}, ""),
        ({"attempts": 0}, ""),
        ({"attempts": -1}, f"{RETRY}.attempts"),
        ({"codes": [400, 599]}, ""),
        ({"codes": [399]}, f"{RETRY}.codes[0]"),
        ({"codes": [600]}, f"{RETRY}.codes[0]"),
        ({"codes": [500, 503, 500]}, f"{RETRY}.codes[2]"),
        ({"backoff": 1}, f"{RETRY}.backoff"),
    ],
)
def test_retries(retry: dict[str, Any], field: str) -> None:
    assert refused("HTTPRoute", retry=retry) == field


SCRIPTS = "spec.rules[0].filters[0].cors"
LONG = f"https://{'a' * 246}"


@pytest.mark.parametrize(
    ("cors", "field"),
    [
        ({}, ""),
        ({"allowOrigins": ["*"], "allowMethods": ["*"], "allowHeaders": ["*"], "exposeHeaders": ["*"]}, ""),
        ({"allowOrigins": ["http://*", "https://*.a.b:8443", "http://10.0.0.1"]}, ""),
        ({"allowOrigins": ["a.b"]}, f"{SCRIPTS}.allowOrigins[0]"),
        ({"allowOrigins": ["ftp://a.b"]}, f"{SCRIPTS}.allowOrigins[0]"),
        ({"allowOrigins": ["http://a.*.b"]}, f"{SCRIPTS}.allowOrigins[0]"),
        ({"allowOrigins": ["http://a/"]}, f"{SCRIPTS}.allowOrigins[0]"),
        ({"allowOrigins": [LONG[:253]]}, ""),
        ({"allowOrigins": [LONG]}, f"{SCRIPTS}.allowOrigins[0]"),
        ({"allowOrigins": ["http://a", "http://b", "http://a"]}, f"{SCRIPTS}.allowOrigins[2]"),
        ({"allowOrigins": ["http://a", "*"]}, f"{SCRIPTS}.allowOrigins"),
        ({"allowMethods": ["GET", "*"]}, f"{SCRIPTS}.allowMethods"),
        ({"allowMethods": ["get"]}, f"{SCRIPTS}.allowMethods[0]"),
        ({"allowHeaders": ["a", "*"]}, f"{SCRIPTS}.allowHeaders"),
        ({"allowHeaders": ["a b"]}, f"{SCRIPTS}.allowHeaders[0]"),
        ({"exposeHeaders": ["a", "*"]}, ""),
        ({"exposeHeaders": [f"x{number}" for number in range(65)]}, f"{SCRIPTS}.exposeHeaders"),
        ({"maxAge": 0}, f"{SCRIPTS}.maxAge"),
        ({"allowCredentials": "yes"}, f"{SCRIPTS}.allowCredentials"),
    ],
)
def test_cors(cors: dict[str, Any], field: str) -> None:
    assert refused("HTTPRoute", filters=[{"type": "CORS", "cors": cors}]) == field


SESSION = "spec.rules[0].sessionPersistence"


@pytest.mark.parametrize("kind", ["HTTPRoute", "GRPCRoute"])
@pytest.mark.parametrize(
    ("session", "field"),
    [
        ({}, ""),
        ({"type": "Header", "sessionName": "x"}, ""),
        ({"type": "Query"}, f"{SESSION}.type"),
        ({"sessionName": "x" * 128}, ""),
        ({"sessionName": "x" * 129}, f"{SESSION}.sessionName"),
        ({"cookieConfig": {}}, ""),
        ({"cookieConfig": {"lifetimeType": "Session"}}, ""),
        ({"cookieConfig": {"lifetimeType": "Eternal"}}, f"{SESSION}.cookieConfig.lifetimeType"),
        ({"cookieConfig": {"lifetimeType": "Permanent"}}, f"{SESSION}.absoluteTimeout"),
        ({"cookieConfig": {"lifetimeType": "Permanent"}, "absoluteTimeout": "1h"}, ""),
        ({"type": "Header", "cookieConfig": {}}, f"{SESSION}.cookieConfig"),
        ({"cookie": {}}, ""),
        ({"cookie": {"name": "x" * 256, "path": "/a"}}, ""),
        ({"cookie": {"name": "x" * 257}}, f"{SESSION}.cookie.name"),
        ({"cookie": {"name": "a b"}}, f"{SESSION}.cookie.name"),
        ({"cookie": {"path": "/" * 1025}}, f"{SESSION}.cookie.path"),
        ({"cookie": {"lifetimeType": "Eternal"}}, f"{SESSION}.cookie.lifetimeType"),
        ({"cookie": {"lifetimeType": "Permanent"}}, f"{SESSION}.absoluteTimeout"),
        ({"cookie": {"lifetimeType": "Permanent"}, "absoluteTimeout": "1h"}, ""),
        ({"type": "Header", "cookie": {}}, f"{SESSION}.cookie"),
        ({"type": "Header", "header": {"name": "x"}}, ""),
        ({"type": "Header", "header": {}}, f"{SESSION}.header"),
        ({"type": "Header", "header": {"name": "a b"}}, f"{SESSION}.header.name"),
        ({"header": {"name": "x"}}, f"{SESSION}.header"),
    ],
)
def test_sessions(kind: str, session: dict[str, Any], field: str) -> None:
    assert refused(kind, sessionPersistence=session) == field


@pytest.mark.parametrize(
    ("hostnames", "field"),
    [
        ([], ""),
        (["a", "a.b-c.d", "*.a.b"], ""),
        (["a.b", "10.0.0.1"], "spec.hostnames[1]"),
        (["::1"], "spec.hostnames[0]"),
        (["a.*.b"], "spec.hostnames[0]"),
        (["*"], "spec.hostnames[0]"),
        (["A.b"], "spec.hostnames[0]"),
        (["a..b"], "spec.hostnames[0]"),
        (["-a"], "spec.hostnames[0]"),
        ([f"{'a.' * 126}aa"], "spec.hostnames[0]"),
        ([f"a{number}" for number in range(1025)], "spec.hostnames"),
    ],
)
def test_server_names(hostnames: list[str], field: str) -> None:
    rules = [{"backendRefs": [{"name": "a", "port": 1}]}]
    version = "gateway.networking.k8s.io/v1"
    spec = {"hostnames": hostnames, "rules": rules}
    route = {"apiVersion": version, "kind": "TLSRoute", "metadata": {"name": "r", "namespace": "app"}, "spec": spec}
    (found,) = decode(route, "here")
    assert (found.field if isinstance(found, Problem) else "") == field


FILTER = "spec.rules[0].filters[0]"
MODIFIER = {"remove": ["a"]}


@pytest.mark.parametrize(
    ("item", "field"),
    [
        ({"type": "RequestHeaderModifier", "requestHeaderModifier": MODIFIER}, ""),
        ({"type": "RequestHeaderModifier"}, f"{FILTER}.requestHeaderModifier"),
        ({"type": "RequestHeaderModifier", "responseHeaderModifier": MODIFIER}, f"{FILTER}.requestHeaderModifier"),
        (
            {"type": "ResponseHeaderModifier", "responseHeaderModifier": MODIFIER, "cors": {}},
            f"{FILTER}.cors",
        ),
        ({"type": "CORS", "cors": {}, "extensionRef": {"name": "x"}}, f"{FILTER}.extensionRef"),
        ({"type": "Magic", "requestRedirect": {}}, f"{FILTER}.requestRedirect"),
        ({"type": "Magic"}, ""),
        (
            {"type": "URLRewrite", "urlRewrite": {"path": {"type": "ReplaceFullPath"}}},
            f"{FILTER}.urlRewrite.path.replaceFullPath",
        ),
        (
            {"type": "RequestRedirect", "requestRedirect": {"path": {"type": "X", "replacePrefixMatch": "/"}}},
            f"{FILTER}.requestRedirect.path.replacePrefixMatch",
        ),
    ],
)
def test_a_filter_s_type_says_which_field_is_there(item: dict[str, Any], field: str) -> None:
    assert refused("HTTPRoute", filters=[item]) == field


@pytest.mark.parametrize("path", ["/", "/a/b", "/a/", "/a.b/.c/..d", "/%20!$&'()*+,;=:@~-_"])
def test_paths(path: str) -> None:
    assert refused("HTTPRoute", matches=[{"path": {"type": "Exact", "value": path}}]) == ""


@pytest.mark.parametrize(
    "path",
    ["", "a", "//", "/a//b", "/./a", "/a/../b", "/a/..", "/a/.", "/a%2fb", "/a%2F", "/a#b", "/a b", "/%zz", "/é"],
)
def test_what_is_no_path(path: str) -> None:
    field = "spec.rules[0].matches[0].path.value"
    assert refused("HTTPRoute", matches=[{"path": {"type": "PathPrefix", "value": path}}]) == field
    assert refused("HTTPRoute", matches=[{"path": {"type": "RegularExpression", "value": path}}]) == ""


@pytest.mark.parametrize("kind", ["HTTPRoute", "GRPCRoute"])
@pytest.mark.parametrize(("name", "field"), [("a.b-c", ""), ("a/b", "spec.rules[0].name"), ("A", "spec.rules[0].name")])
def test_the_name_of_a_rule(kind: str, name: str, field: str) -> None:
    assert refused(kind, name=name) == field
