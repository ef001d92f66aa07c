"""All that is made, as Envoy reads it: its own validation refuses what it would refuse over ADS."""

import json
import subprocess
from pathlib import Path

import pytest

from agent.ir.addresses import Addresses
from agent.ir.envoy import Envoy
from agent.ir.http import (
    BackendPort,
    HTTPListenerIR,
    Pool,
    Retry,
    Rule,
    Session,
    TLSListenerIR,
    TLSRule,
    WeightedBackend,
)
from agent.model.filters import CORS, Filter, Header, HeaderFilter, PathModifier, RequestRedirect, URLRewrite
from agent.model.routes import HeaderMatch, HTTPPathMatch, HTTPRouteMatch
from agent.translate.filters.request_mirror import Mirror
from agent.translate.options import Collector, Options
from agent.waypoint.process import Limits, bootstrap, envoy_command
from agent.waypoint.xds.client_allow_list import client_allow_list
from agent.waypoint.xds.cluster import cluster, endpoints
from agent.waypoint.xds.listener import listener
from agent.waypoint.xds.passthrough import passthrough_listener
from agent.waypoint.xds.route import route_configuration
from agent.waypoint.xds.tracing import collector_cluster

A, B, C = BackendPort("app", "a", 80), BackendPort("app", "b", 80, "h2c"), BackendPort("app", "c", 80)
A_SAME = BackendPort("app", "a", 80, "same")
POOL = Pool((A, C))
TO_A = (WeightedBackend(A, 1),)
FOO, ROOT = HTTPRouteMatch(HTTPPathMatch("PathPrefix", "/foo")), HTTPRouteMatch()
CHANGE = HeaderFilter((Header("x-set", "100%"),), (Header("x-add", "1"),), ("x-gone",))


def everything() -> tuple[Rule, ...]:
    """One rule of each kind."""
    prefix = PathModifier("ReplacePrefixMatch", replace_prefix_match="/")
    return (
        Rule("split", FOO, (), (WeightedBackend(A, 9), WeightedBackend(None, 1))),
        Rule("rewrite", FOO, (Filter("URLRewrite", url_rewrite=URLRewrite("b", prefix)),), TO_A, 1000, 500),
        Rule("redirect", FOO, (Filter("RequestRedirect", request_redirect=RequestRedirect("https", path=prefix)),)),
        Rule("cors", FOO, (Filter("CORS", cors=CORS(("*", "http://*"), True, ("*",), ("*",), ("*",))),), TO_A),
        Rule("cookie", FOO, (), TO_A, session=Session("s", seconds=60)),
        Rule("header", FOO, (), (WeightedBackend(C, 1),), session=Session("s", header=True, pool=POOL)),
        Rule("retries", FOO, (), TO_A, retry=Retry(3, (500, 599), 0)),
        Rule("mirrors", FOO, (), TO_A, resolved=(Mirror(A, 1_000_000), Mirror(B, 1))),
        Rule("headers", ROOT, (Filter("RequestHeaderModifier", request_header_modifier=CHANGE),), TO_A),
        Rule("regex", HTTPRouteMatch(headers=(HeaderMatch("a", "[0-9]{1,9}", "RegularExpression"),)), (), TO_A),
    )


def test_envoy_itself_takes_it_all(tmp_path: Path):
    """The same resources, static: what Envoy would refuse over ADS is refused by its own validation."""
    listener_ir = HTTPListenerIR("app/a:80", "", 80, False, everything())
    collector = Collector("collector.monitoring", 4317, 0.5)
    made = {
        **listener("app/a:80", listener_ir, Options(collector=collector)),
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 1}},
    }
    shares = (WeightedBackend(BackendPort("app", "a", 443, "tcp"), 9), WeightedBackend(None, 1))
    rbac, http = made["filter_chains"][0]["filters"]
    settings = {key: value for key, value in http["typed_config"].items() if key != "rds"}
    # As over RDS: the share of an invalid backend names a cluster that there is not.
    static = {**settings, "route_config": {**route_configuration(listener_ir, {}, {}), "validate_clusters": False}}
    filters = [client_allow_list(rbac["name"], ["10.1.0.1", "fd00::1"], {}), {**http, "typed_config": static}]
    chains = (TLSRule("names", ("a.b", "*.b"), shares), TLSRule("any", (), ()))
    more = passthrough_listener(TLSListenerIR("app/a:443", "", chains), {}, Options())
    more = {**more, "address": {"socket_address": {"address": "127.0.0.1", "port_value": 2}}}
    for chain in more["filter_chains"]:
        chain["filters"][0] = filters[0]
    config = bootstrap(tmp_path / "ads.sock", Envoy(1, "here", Addresses("127.0.0.2")), Limits(1, 1000, 2**30))
    config["static_resources"]["listeners"] = [{**made, "filter_chains": [{"filters": filters}]}, more]
    config["static_resources"]["clusters"] += [cluster(A), cluster(B), cluster(POOL), cluster(A_SAME)]
    config["static_resources"]["clusters"] += [collector_cluster(collector)]
    file = tmp_path / "envoy.json"
    file.write_text(json.dumps(config))
    command = [*envoy_command(file, 1), "--mode", "validate"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    # Not by its exit code: with a stats logger in a listener, Envoy 1.40 crashes after the validation, while it ends.
    assert f"configuration '{file}' OK" in done.stdout + done.stderr, done.stdout + done.stderr


def test_a_cluster_without_endpoints_has_none():
    assert endpoints(A, []) == {"cluster_name": "app/a:80/http", "endpoints": []}
    (found,) = endpoints(A, [("10.1.0.7", 8080)])["endpoints"]
    address = {"address": "10.1.0.7", "port_value": 8080}
    assert found == {"lb_endpoints": [{"endpoint": {"address": {"socket_address": address}}}]}


@pytest.mark.parametrize(("backend", "protocol"), [(A, "http_protocol_options"), (B, "http2_protocol_options")])
def test_a_cluster_speaks_what_the_port_speaks(backend: BackendPort, protocol: str):
    (options,) = cluster(backend)["typed_extension_protocol_options"].values()
    assert options["explicit_http_config"].keys() == {protocol}


def test_nobody_is_allow_listed_unless_named():
    assert client_allow_list("client-allow-list", [], {})["typed_config"]["rules"] == {
        "action": "ALLOW",
        "policies": {},
    }
    (policy,) = client_allow_list("client-allow-list", ["10.1.0.1", "fd00::1"], {})["typed_config"]["rules"][
        "policies"
    ].values()
    assert policy["principals"] == [
        {"direct_remote_ip": {"address_prefix": "10.1.0.1", "prefix_len": 32}},
        {"direct_remote_ip": {"address_prefix": "fd00::1", "prefix_len": 128}},
    ]


@pytest.mark.parametrize(("consumer", "name"), [("", "client-allow-list"), ("shop", "client-allow-list@shop")])
def test_a_listener_waits_for_its_allow_list(consumer: str, name: str):
    found = listener("app/a:80", HTTPListenerIR("app/a:80", consumer, 80, False, ()), Options())["filter_chains"][0][
        "filters"
    ][0]
    assert found["name"] == name
    assert "default_config" not in found["config_discovery"]


@pytest.mark.parametrize(("host", "kind"), [("10.1.0.5", "STATIC"), ("fd00::5", "STATIC"), ("otel.apps", "STRICT_DNS")])
def test_a_collector_is_an_address_or_a_name(host: str, kind: str):
    assert collector_cluster(Collector(host, 4317))["type"] == kind


def test_who_is_seen_only_is_spoken_to_as_the_client_speaks():
    (options,) = cluster(A_SAME)["typed_extension_protocol_options"].values()
    assert options["use_downstream_protocol_config"].keys() == {"http_protocol_options", "http2_protocol_options"}
    assert "explicit_http_config" not in options
