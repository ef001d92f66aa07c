"""Listener IRs as RouteConfigurations: shares, redirects, rewrites, headers and timeouts, and all of it encodes."""

from typing import Any

import pytest

from agent.ir.http import BackendPort, HTTPListenerIR, Pool, Retry, Rule, Session, WeightedBackend
from agent.ir.resources import ResourceName, ResourceType
from agent.model.filters import Filter, Header, HeaderFilter, PathModifier, RequestRedirect, URLRewrite
from agent.model.routes import GRPCRouteMatch, HTTPPathMatch, HTTPRouteMatch
from agent.translate.filters.request_mirror import Mirror
from agent.waypoint.encode import encode
from agent.waypoint.xds.cluster import pool_endpoints
from agent.waypoint.xds.retry import ELSEWHERE
from agent.waypoint.xds.route import route_configuration

C = BackendPort("app", "c", 80)
A, B = BackendPort("app", "a", 80), BackendPort("app", "b", 80, "h2c")
FOO = HTTPRouteMatch(HTTPPathMatch("PathPrefix", "/foo"))
ROOT = HTTPRouteMatch()
NO_MATCH = {"match": {"prefix": "/"}, "name": "no-match", "direct_response": {"status": 404}}
UNREACHED = "connect-failure,refused-stream"
RETRY = {"retry_on": UNREACHED, "num_retries": 2, **ELSEWHERE}
CALM = {"timeout": "0.000s", "retry_policy": RETRY}
TO_A = (WeightedBackend(A, 1),)


def pause(base: str) -> dict[str, Any]:
    return {"retry_back_off": {"base_interval": base}}


def routes(*rules: Rule, grpc: bool = False, port: int = 80) -> list[dict[str, Any]]:
    """The routes of a set of rules; every one has to encode, and a request that matches none gets a 404."""
    rendered = route_configuration(HTTPListenerIR("app/a:80", "", port, grpc, rules), {}, {})
    encode(ResourceName(ResourceType.ROUTE, "app/a:80"), rendered)
    assert rendered["virtual_hosts"][0]["domains"] == ["*"]
    found = rendered["virtual_hosts"][0]["routes"]
    assert found[-1] == NO_MATCH
    return list(found[:-1])


def only(rule: Rule, **more: Any) -> dict[str, Any]:
    (found,) = routes(rule, **more)
    return found


def test_one_backend_is_a_cluster():
    assert only(Rule("app/r/0/0", ROOT, (), TO_A)) == {
        "name": "app/r/0/0",
        "match": {"prefix": "/"},
        "route": {"cluster": "app/a:80/http", **CALM},
    }


def test_rules_keep_their_order():
    assert [item["name"] for item in routes(Rule("b", FOO, (), TO_A), Rule("a", ROOT, (), TO_A))] == ["b", "a"]


def test_weights_are_the_route_s_own():
    shares = (WeightedBackend(A, 9), WeightedBackend(B, 1))
    assert only(Rule("r", ROOT, (), shares))["route"]["weighted_clusters"] == {
        "clusters": [{"name": "app/a:80/http", "weight": 9}, {"name": "app/b:80/h2c", "weight": 1}]
    }


@pytest.mark.parametrize(("grpc", "status"), [(False, 500), (True, 503)])
def test_an_invalid_backend_answers_its_share(grpc: bool, status: int):
    match = GRPCRouteMatch() if grpc else ROOT
    found = only(Rule("r", match, (), (WeightedBackend(A, 3), WeightedBackend(None, 1))), grpc=grpc)
    good, invalid = found["route"]["weighted_clusters"]["clusters"]
    assert (good["name"], good["weight"], invalid["weight"]) == ("app/a:80/http", 3, 1)
    abort = invalid["typed_per_filter_config"]["refusal"]["abort"]
    assert abort == {"http_status": status, "percentage": {"numerator": 100, "denominator": "HUNDRED"}}
    assert "typed_per_filter_config" not in good


@pytest.mark.parametrize(("grpc", "status"), [(False, 500), (True, 503)])
@pytest.mark.parametrize("backends", [(), (WeightedBackend(None, 1),), (WeightedBackend(None, 1),) * 2])
def test_without_a_valid_backend_all_is_refused(grpc: bool, status: int, backends: tuple[WeightedBackend, ...]):
    found = only(Rule("r", GRPCRouteMatch() if grpc else ROOT, (), backends), grpc=grpc)
    assert found["direct_response"] == {"status": status}


def redirect(match: HTTPRouteMatch = ROOT, service_port: int = 80, **fields: Any) -> list[dict[str, Any]]:
    found = routes(
        Rule("r", match, (Filter("RequestRedirect", request_redirect=RequestRedirect(**fields)),)), port=service_port
    )
    return [item["redirect"] for item in found]


@pytest.mark.parametrize(
    ("service_port", "fields", "port"),
    [
        (8080, {}, 8080),
        (8080, {"port": 8443}, 8443),
        (8080, {"scheme": "https"}, None),
        (8080, {"scheme": "http"}, None),
        (80, {}, None),
        (8080, {"port": 80}, None),
        (8080, {"scheme": "https", "port": 443}, None),
        (8080, {"scheme": "https", "port": 80}, 80),
        (8080, {"scheme": "http", "port": 443}, 443),
    ],
)
def test_the_port_of_a_redirect(service_port: int, fields: dict[str, Any], port: int | None):
    (found,) = redirect(service_port=service_port, hostname="b.example", **fields)
    assert found.get("port_redirect") == port
    assert found["scheme_redirect"] == fields.get("scheme", "http")
    assert found["host_redirect"] == "b.example"


def test_a_port_in_the_host_is_not_carried_into_a_redirect():
    """Envoy keeps the request's port unless another is said."""
    with_port, without = redirect(scheme="https")
    assert (with_port["port_redirect"], without.get("port_redirect")) == (443, None)
    (known,) = redirect(service_port=8080)
    assert known["port_redirect"] == 8080


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (301, "MOVED_PERMANENTLY"),
        (302, "FOUND"),
        (303, "SEE_OTHER"),
        (307, "TEMPORARY_REDIRECT"),
        (308, "PERMANENT_REDIRECT"),
    ],
)
def test_the_status_of_a_redirect(code: int, name: str):
    assert redirect(status_code=code, hostname="b.example")[0]["response_code"] == name


def test_the_path_of_a_redirect():
    whole = PathModifier("ReplaceFullPath", replace_full_path="/new")
    prefix = PathModifier("ReplacePrefixMatch", replace_prefix_match="/bar")
    assert redirect(path=whole, hostname="b")[0]["path_redirect"] == "/new"
    assert redirect(FOO, path=prefix, hostname="b")[0]["prefix_rewrite"] == "/bar"


def rewritten(match: HTTPRouteMatch, **fields: Any) -> dict[str, Any]:
    found = only(Rule("r", match, (Filter("URLRewrite", url_rewrite=URLRewrite(**fields)),), TO_A))["route"]
    return {key: value for key, value in found.items() if key not in ("cluster", *CALM)}


@pytest.mark.parametrize(
    ("prefix", "new", "expected"),
    [
        ("/foo", "/bar", {"prefix_rewrite": "/bar"}),
        ("/foo/", "/bar/", {"prefix_rewrite": "/bar"}),
        ("/foo", "bar", {"prefix_rewrite": "/bar"}),
        ("/foo", "/", {"regex_rewrite": {"pattern": {"regex": "^/foo/*"}, "substitution": "/"}}),
        ("/foo", "", {"regex_rewrite": {"pattern": {"regex": "^/foo/*"}, "substitution": "/"}}),
        ("/f.o", "/", {"regex_rewrite": {"pattern": {"regex": r"^/f\.o/*"}, "substitution": "/"}}),
        ("/", "/bar", {"regex_rewrite": {"pattern": {"regex": "^/"}, "substitution": "/bar/"}}),
        ("/", "/", {"regex_rewrite": {"pattern": {"regex": "^/"}, "substitution": "/"}}),
        ("/", r"/b\1", {"regex_rewrite": {"pattern": {"regex": "^/"}, "substitution": r"/b\\1/"}}),
    ],
)
def test_a_prefix_is_replaced(prefix: str, new: str, expected: dict[str, Any]):
    path = PathModifier("ReplacePrefixMatch", replace_prefix_match=new)
    assert rewritten(HTTPRouteMatch(HTTPPathMatch("PathPrefix", prefix)), path=path) == expected


@pytest.mark.parametrize(("new", "substitution"), [("/new", "/new"), ("new", "/new"), ("", "/"), ("/\\0", "/\\\\0")])
def test_the_whole_path_is_replaced(new: str, substitution: str):
    path = PathModifier("ReplaceFullPath", replace_full_path=new)
    regex = {"pattern": {"regex": "^/.*$"}, "substitution": substitution}
    assert rewritten(FOO, path=path) == {"regex_rewrite": regex}


def test_the_host_is_replaced():
    assert rewritten(FOO, hostname="b.example") == {"host_rewrite_literal": "b.example"}


CHANGE = HeaderFilter((Header("x-set", "100%"),), (Header("x-add", "1"),), ("x-gone",))
SET = {
    "header": {"key": "x-set", "value": "100%%"},
    "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
    "keep_empty_value": True,
}
ADD = {"header": {"key": "x-add", "value": "1"}, "append_action": "APPEND_IF_EXISTS_OR_ADD", "keep_empty_value": True}


@pytest.mark.parametrize("side", ["request", "response"])
def test_headers_of_a_rule(side: str):
    kind = f"{side.title()}HeaderModifier"
    found = only(Rule("r", ROOT, (Filter(kind, **{f"{side}_header_modifier": CHANGE}),), TO_A))
    assert found[f"{side}_headers_to_add"] == [SET, ADD]
    assert found[f"{side}_headers_to_remove"] == ["x-gone"]


def test_a_backend_s_headers_come_after_the_rule_s():
    removes = Filter("RequestHeaderModifier", request_header_modifier=HeaderFilter(remove=("X-Set",)))
    changes = Filter("RequestHeaderModifier", request_header_modifier=CHANGE)
    found = only(Rule("r", ROOT, (changes,), (WeightedBackend(A, 1, (removes,)),)))
    assert found["route"]["cluster"] == A.cluster
    assert found["request_headers_to_add"] == [ADD]
    assert found["request_headers_to_remove"] == ["x-gone", "X-Set"]


def test_a_header_that_a_rule_adds_and_its_backend_sets_is_the_backend_s():
    """Envoy overwrites before it appends, whatever the order."""
    adds, sets = (
        Filter("RequestHeaderModifier", request_header_modifier=change)
        for change in (HeaderFilter(add=(Header("X-Set", "1"),)), HeaderFilter(set=(Header("x-set", "100%"),)))
    )
    found = only(Rule("r", ROOT, (adds,), (WeightedBackend(A, 1, (sets,)),)))
    assert found["request_headers_to_add"] == [SET]


def test_timeouts():
    found = only(Rule("r", ROOT, (), TO_A, request_timeout=90_000, backend_timeout=1_500))["route"]
    assert (found["timeout"], found["retry_policy"]) == ("90.000s", {**RETRY, "per_try_timeout": "1.500s"})


@pytest.mark.parametrize(
    ("retry", "timeout", "policy"),
    [
        (Retry(0), None, {"retry_on": UNREACHED, "num_retries": 0}),
        (Retry(2, (), 0), None, {"retry_on": UNREACHED, "num_retries": 2, **pause("0.001s")}),
        (
            Retry(1, (500, 503), 1500),
            None,
            {
                "retry_on": f"{UNREACHED},retriable-status-codes",
                "num_retries": 1,
                "retriable_status_codes": [500, 503],
                **pause("1.500s"),
            },
        ),
        (Retry(1), 200, {"retry_on": f"{UNREACHED},reset", "num_retries": 1, "per_try_timeout": "0.200s"}),
    ],
)
def test_retries(retry: Retry, timeout: int | None, policy: dict[str, Any]):
    found = only(Rule("r", ROOT, (), TO_A, retry=retry, backend_timeout=timeout))
    assert found["route"]["retry_policy"] == policy | ELSEWHERE


def test_copies_go_to_every_mirror_by_a_share_of_a_million():
    mirrors = (Mirror(A, 1_000_000), Mirror(B, 333_333))
    policies = only(Rule("r", ROOT, (), TO_A, resolved=mirrors))["route"]["request_mirror_policies"]
    assert [
        (item["cluster"], item["runtime_fraction"]["default_value"], item["disable_shadow_host_suffix_append"])
        for item in policies
    ] == [
        ("app/a:80/http", {"numerator": 1_000_000, "denominator": "MILLION"}, True),
        ("app/b:80/h2c", {"numerator": 333_333, "denominator": "MILLION"}, True),
    ]


POOL = Pool((A, C))


def test_a_pool_s_shares_are_its_members():
    shares = (WeightedBackend(A, 3), WeightedBackend(C, 1), WeightedBackend(None, 1))
    found = only(Rule("r", ROOT, (), shares, session=Session("s", pool=POOL)))["route"]["weighted_clusters"]
    first, second, invalid = found["clusters"]
    assert (first["name"], second["name"], invalid["name"]) == ("app/a:80+app/c:80/http",) * 2 + ("invalid",)
    assert [item["metadata_match"] for item in (first, second)] == [
        {"filter_metadata": {"envoy.lb": {"backend": item.cluster}}} for item in (A, C)
    ]


def test_a_pool_s_endpoints_say_whose_they_are():
    both, alone = ("10.0.0.1", 1), ("10.0.0.2", 2)
    (found,) = pool_endpoints(POOL, {A: [both], C: [both, alone]})["endpoints"]
    assert [item["metadata"]["filter_metadata"]["envoy.lb"]["backend"] for item in found["lb_endpoints"]] == [
        [A.cluster, C.cluster],
        [C.cluster],
    ]
