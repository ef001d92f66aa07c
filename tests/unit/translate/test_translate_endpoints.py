"""Which endpoints take new connections: kube-proxy's cases (pkg/proxy/topology_test.go), as far as cluster IPs go."""

import pytest

from agent.model.core import ZONE_LABEL, Node, Service, ServicePort, ServiceSpec
from agent.model.discovery import Endpoint, EndpointConditions, EndpointHints, TopologyHint
from agent.model.meta import ObjectMeta
from agent.translate.endpoints import distribution_warning, endpoints, endpoints_of_either_family
from agent.translate.options import Options
from support.translate import endpoint, service, slice_of, view_of

HERE = Options("here", zone="east")
READY, UNREADY = EndpointConditions(True, True, False), EndpointConditions(False, False, False)
ENDING, GONE = EndpointConditions(False, True, True), EndpointConditions(False, False, True)


def at(
    number: int, conditions: EndpointConditions = READY, nodes: str = "", zones: str = "", node: str = ""
) -> Endpoint:
    """An endpoint with hints, separated by spaces."""
    named = [tuple(TopologyHint(name) for name in names.split()) for names in (nodes, zones)]
    return Endpoint((f"10.1.0.{number}",), conditions, node, hints=EndpointHints(*named))


def web(policy: str = "Cluster", distribution: str = "") -> Service:
    spec = ServiceSpec(
        cluster_ips=("10.96.0.1",),
        ports=(ServicePort(80, "http"),),
        internal_traffic_policy=policy,
        traffic_distribution=distribution,
    )
    return Service(ObjectMeta("web", "app"), spec)


def chosen(*found: Endpoint, policy: str = "Cluster", options: Options = HERE) -> list[int]:
    """The last numbers of the addresses that are used."""
    served = web(policy)
    view = view_of(served, slice_of("web", *found))
    return [int(host.rpartition(".")[2]) for host, _ in endpoints(view, served, served.spec.ports[0], 4, options)]


def test_the_zone_is_the_node_s_where_no_setting_says_otherwise() -> None:
    found = slice_of("web", at(1, zones="east"), at(2, zones="west"))
    served, west = web(), Node(ObjectMeta("here", labels={ZONE_LABEL: "west"}))
    used = [
        [host for host, _ in endpoints(view_of(served, found, *nodes), served, served.spec.ports[0], 4, options)]
        for nodes, options in (((west,), Options("here")), ((west,), HERE), ((), Options("here")))
    ]
    assert used == [["10.1.0.2"], ["10.1.0.1"], ["10.1.0.1", "10.1.0.2"]]


@pytest.mark.parametrize("hinted", [True, False])
def test_a_node_is_read_only_where_hints_ask_for_its_zone(hinted: bool) -> None:
    served = web()
    view = view_of(served, slice_of("web", at(1, zones="east" if hinted else "")))
    endpoints(view, served, served.spec.ports[0], 4, Options("here"))
    assert (("object", "Node", "", "here") in view.reads) == hinted


@pytest.mark.parametrize(
    ("found", "numbers"),
    [
        ([], []),
        ([at(1), at(2)], [1, 2]),
        ([at(1), at(2, UNREADY), at(3, ENDING)], [1]),
        ([at(1, UNREADY), at(2, ENDING), at(3, GONE)], [2]),
        ([at(1, UNREADY), at(2, GONE)], []),
        ([at(1, EndpointConditions())], [1]),
        ([at(1, EndpointConditions(False, None, True))], [1]),
        ([at(1, EndpointConditions(True, False, True))], [1]),
        ([at(1, zones="east"), at(2, zones="west")], [1]),
        ([at(1, zones="east west"), at(2, zones="west")], [1]),
        ([at(1, zones="east"), at(2)], [1, 2]),
        ([at(1, zones="east"), at(2, UNREADY)], [1]),
        ([at(1, zones="east"), at(2, ENDING)], [1]),
        ([at(1, zones="north"), at(2, zones="west")], [1, 2]),
        ([at(1, UNREADY, zones="east"), at(2, zones="west")], [2]),
        ([at(1, ENDING, zones="west"), at(2, ENDING, zones="east")], [1, 2]),
        ([at(1, nodes="here"), at(2, nodes="there")], [1]),
        ([at(1, nodes="here", zones="west"), at(2, nodes="there", zones="east")], [1]),
        ([at(1, nodes="away", zones="west"), at(2, nodes="there", zones="east")], [2]),
        ([at(1, nodes="here", zones="west"), at(2, zones="east")], [2]),
        ([at(1, nodes="here"), at(2)], [1, 2]),
    ],
)
def test_endpoints_for_the_cluster(found: list[Endpoint], numbers: list[int]) -> None:
    assert chosen(*found) == numbers


@pytest.mark.parametrize(
    ("found", "numbers"),
    [
        ([at(1, node="here"), at(2, node="there")], [1]),
        ([at(1, ENDING, node="here"), at(2, node="there")], [1]),
        ([at(1, ENDING, node="here"), at(2, node="here")], [2]),
        ([at(1, UNREADY, node="here"), at(2, node="there")], []),
        ([at(1), at(2, node="there")], []),
        ([at(1, node="here", zones="west"), at(2, node="there", zones="east")], [1]),
        ([at(1, node="here", zones="west"), at(2, node="here", zones="east")], [1, 2]),
    ],
)
def test_endpoints_of_this_node(found: list[Endpoint], numbers: list[int]) -> None:
    assert chosen(*found, policy="Local") == numbers


@pytest.mark.parametrize("hint", [{"zones": "east"}, {"nodes": "here"}])
def test_a_node_that_does_not_know_itself_follows_no_hint(hint: dict[str, str]) -> None:
    assert chosen(at(1, **hint), at(2, zones="west", nodes="there"), options=Options()) == [1, 2]


def test_a_proxy_uses_no_endpoint_that_ends_while_one_of_the_other_family_is_ready() -> None:
    dual = service("web", "10.96.0.1")
    view = view_of(
        dual, slice_of("web", at(1, ENDING)), slice_of("web", endpoint("fd01::1"), endpoint("fd01::2"), kind="IPv6")
    )
    found = endpoints_of_either_family(view, dual, dual.spec.ports[0], HERE)
    assert found == (("fd01::1", 8080), ("fd01::2", 8080))


@pytest.mark.parametrize(
    ("distribution", "found", "options", "expected"),
    [
        ("", [at(1)], HERE, ""),
        ("PreferClose", [], HERE, ""),
        ("PreferClose", [at(1, UNREADY)], HERE, ""),
        ("PreferClose", [at(1, zones="west")], HERE, ""),
        ("PreferSameZone", [at(1, zones="east"), at(2)], HERE, "not every ready endpoint has hints"),
        ("PreferSameNode", [at(1, nodes="there")], HERE, ""),
        ("Nearby", [at(1)], HERE, "'Nearby' is none of"),
        ("PreferClose", [at(1, zones="east")], Options("here"), "zone is unknown"),
        ("", [at(1, zones="east")], Options("here"), "zone is unknown"),
    ],
)
def test_what_is_asked_for_and_not_done_is_told(
    distribution: str, found: list[Endpoint], options: Options, expected: str
) -> None:
    served = web(distribution=distribution)
    warning = distribution_warning(view_of(served, slice_of("web", *found)), served, options)
    assert expected in warning
    assert bool(warning) == bool(expected)


def test_local_traffic_has_no_distribution_to_tell_of() -> None:
    served = web("Local", "PreferClose")
    assert not distribution_warning(view_of(served, slice_of("web", at(1))), served, HERE)


def test_names_that_are_not_used_need_no_hints() -> None:
    served = web(distribution="PreferClose")
    view = view_of(served, slice_of("web", at(1, zones="east")), slice_of("web", Endpoint(("a.b",)), kind="FQDN"))
    assert not distribution_warning(view, served, HERE)
