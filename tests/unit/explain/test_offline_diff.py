"""`weft diff`: what would change, for whom, and nothing where nothing would."""

import json
from pathlib import Path

import pytest

from agent.explain.diff import Change, compare
from agent.explain.manifests import read
from support.explain import MESH, ROUTE, weft, write

SPLIT = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: split, namespace: app}
spec:
  parentRefs: [{group: "", kind: Service, name: web, port: 80}]
  rules:
  - name: all
    backendRefs: [{name: web, port: 80, weight: 90}, {name: gone, port: 80, weight: 10}]
"""
TCP = """
apiVersion: gateway.networking.k8s.io/v1
kind: TCPRoute
metadata: {name: db, namespace: app}
spec:
  parentRefs: [{group: "", kind: Service, name: web, port: 5432}]
  rules: [{backendRefs: [{name: web, port: 5432, weight: 3}]}]
"""
ALL = ("app", "shop")


def between(tmp_path: Path, old: dict[str, str], new: dict[str, str]) -> list[Change]:
    return compare(read(write(tmp_path / "old", **old)), read(write(tmp_path / "new", **new)))


def path(service: str, port: int, old: str, new: str, *clients: str) -> Change:
    return Change(service, port, "TCP", "path", "", old, new, clients)


def test_the_same_manifests_do_the_same(tmp_path: Path) -> None:
    files = {"mesh": MESH, "route": ROUTE, "split": SPLIT, "tcp": TCP}
    assert between(tmp_path, files, {"all": "---".join(files.values())}) == []


@pytest.mark.parametrize(
    "changed",
    [
        MESH.replace("addresses: [10.1.0.1]", "addresses: [10.1.0.7]"),
        MESH + "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: more}\n",
        MESH + "---\napiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: app}\nstatus: {phase: Running}\n",
    ],
    ids=["endpoint", "namespace-in-mode-none", "pod-as-its-namespace"],
)
def test_what_makes_no_difference_is_none(tmp_path: Path, changed: str) -> None:
    assert between(tmp_path, {"mesh": MESH}, {"mesh": changed}) == []


def test_a_label_changes_the_paths_of_a_namespace(tmp_path: Path) -> None:
    labelled = MESH.replace("{name: plain}", "{name: plain, labels: {weft.dev/mode: l4}}")
    files = {"route": ROUTE}
    assert between(tmp_path, {"mesh": MESH, **files}, {"mesh": labelled, **files}) == [
        path("app/web", 80, "none", "waypoint (HTTPRoute app/r)", "plain"),
        path("app/web", 5432, "none", "kernel", "plain"),
    ]


def test_a_route_brings_its_clients_to_the_waypoint(tmp_path: Path) -> None:
    (change,) = between(tmp_path, {"mesh": MESH}, {"mesh": MESH, "route": ROUTE})
    assert change == path("app/web", 80, "kernel", "waypoint (HTTPRoute app/r)", *ALL)


def test_a_route_leaves_pods_on_the_host_s_network_to_the_cluster(tmp_path: Path) -> None:
    on_host = "{apiVersion: v1, kind: Pod, metadata: {name: h, namespace: app}, spec: {hostNetwork: true}}"
    pods = f"{MESH}\n---\n{on_host}\n"
    kernel, waypoint = between(tmp_path, {"mesh": pods}, {"mesh": pods, "route": ROUTE})
    assert kernel == path("app/web", 80, "kernel", "none", "app, pods on the host's network")
    assert waypoint == path("app/web", 80, "kernel", "waypoint (HTTPRoute app/r)", *ALL)


def test_a_consumer_s_route_is_its_namespace_s_change(tmp_path: Path) -> None:
    consumer = ROUTE.replace("{name: r, namespace: app}", "{name: mine, namespace: shop}").replace(
        "name: web, port: 80}]\n", "name: web, namespace: app, port: 80}]\n", 1
    )
    files = {"mesh": MESH, "route": ROUTE}
    found = between(tmp_path, files, {**files, "consumer": consumer})
    assert [(item.what, item.rule, item.clients) for item in found] == [
        ("rule", "HTTPRoute app/r, rule 0, match 0", ("shop",)),
        ("rule", "HTTPRoute shop/mine, rule 0, match 0", ("shop",)),
        ("weights", "HTTPRoute app/r, rule 0, match 0", ("shop",)),
        ("weights", "HTTPRoute shop/mine, rule 0, match 0", ("shop",)),
    ]


def test_weights_at_the_waypoint(tmp_path: Path) -> None:
    files = {"mesh": MESH}
    changed = SPLIT.replace("weight: 90", "weight: 50").replace("weight: 10", "weight: 50")
    assert between(tmp_path, {**files, "r": SPLIT}, {**files, "r": changed}) == [
        Change(
            *("app/web", 80, "TCP", "weights", "HTTPRoute app/split, rule all, match 0"),
            *("app/web:80/http 90, invalid 10", "app/web:80/http 50, invalid 50", ALL),
        )
    ]


@pytest.mark.parametrize(
    ("old", "new", "difference"),
    [
        ("name: all", "name: all\n    matches: [{path: {value: /a}}]", '"value": "/a"'),
        ("name: all", "name: all\n    timeouts: {request: 1s}", '"requestMs": 1000'),
        ("name: all", "name: all\n    filters: [{type: URLRewrite, urlRewrite: {hostname: x}}]", '"hostname": "x"'),
        (
            "weight: 90}",
            "weight: 90, filters: [{type: RequestHeaderModifier, requestHeaderModifier: {remove: [x]}}]}",
            '"backendFilters": {"0": [',
        ),
    ],
)
def test_what_a_rule_says(tmp_path: Path, old: str, new: str, difference: str) -> None:
    (change,) = between(tmp_path, {"mesh": MESH, "r": SPLIT}, {"mesh": MESH, "r": SPLIT.replace(old, new)})
    assert (change.what, change.rule, change.clients) == ("rule", "HTTPRoute app/split, rule all, match 0", ALL)
    assert difference in change.new
    assert difference not in change.old


def test_weights_in_the_kernel(tmp_path: Path) -> None:
    files = {"mesh": MESH}
    changed = TCP.replace("weight: 3}", "weight: 3}, {name: other, port: 1}")
    (change,) = between(tmp_path, {**files, "r": TCP}, {**files, "r": changed})
    assert (change.what, change.rule, change.old) == ("weights", "TCPRoute app/db", "app/web:5432 3")
    assert change.new == "app/web:5432 3, app/other:1 1"


def test_a_tcproute_that_comes_is_a_rule_that_comes(tmp_path: Path) -> None:
    found = between(tmp_path, {"mesh": MESH}, {"mesh": MESH, "r": TCP})
    assert [(item.what, item.rule, item.old, item.new) for item in found] == [
        ("rule", "TCPRoute app/db", "", "applies"),
        ("weights", "TCPRoute app/db", "", "app/web:5432 3"),
    ]


def test_a_service_that_comes_is_intercepted_from_then_on(tmp_path: Path) -> None:
    more = "apiVersion: v1\nkind: Service\nmetadata: {name: new, namespace: plain}\nspec: {ports: [{port: 1}]}\n"
    assert between(tmp_path, {"mesh": MESH}, {"mesh": MESH, "more": more}) == [
        path("plain/new", 1, "none", "kernel", *ALL)
    ]


def test_a_pod_with_a_mode_of_its_own_is_a_client_of_its_own(tmp_path: Path) -> None:
    pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: plain, labels: {weft.dev/mode: l4}}\n"
    found = between(tmp_path, {"mesh": MESH}, {"mesh": MESH, "pod": pod})
    assert {item.clients for item in found} == {("plain, pods in mode l4",)}


def test_the_command_exits_with_0_when_nothing_changes(tmp_path: Path) -> None:
    old = write(tmp_path / "old", mesh=MESH)
    done = weft("diff", old, old)
    assert (done.exit_code, done.stdout) == (0, "changes: none\nreach: none\n")


def test_the_command_exits_with_1_and_shows_a_table(tmp_path: Path) -> None:
    old, new = write(tmp_path / "old", mesh=MESH), write(tmp_path / "new", mesh=MESH, route=ROUTE, bad="kind: [")
    done = weft("diff", old, new)
    assert done.exit_code == 1
    assert "app/web:80/TCP" in done.stdout
    assert "waypoint (HTTPRoute app/r)" in done.stdout
    assert "1 objects or documents cannot be used" in done.stdout


def test_the_command_speaks_json(tmp_path: Path) -> None:
    old, new = write(tmp_path / "old", mesh=MESH), write(tmp_path / "new", mesh=MESH, route=ROUTE, bad="kind: [")
    done = weft("diff", old, new, "-o", "json")
    found = json.loads(done.stdout)
    assert done.exit_code == 1
    assert found["problems"] == {str(new): 1}
    assert [item["clients"] for item in found["changes"]] == [list(ALL)]


def test_the_command_exits_with_2_without_a_directory(tmp_path: Path) -> None:
    assert weft("diff", tmp_path, tmp_path / "none").exit_code == 2


TLS = """
apiVersion: gateway.networking.k8s.io/v1
kind: TLSRoute
metadata: {name: t, namespace: app}
spec:
  parentRefs: [{group: "", kind: Service, name: web, port: 80}]
  hostnames: [a.example]
  rules: [{backendRefs: [{name: web, port: 80}]}]
"""


def test_a_tlsroute_s_names_and_weights(tmp_path: Path) -> None:
    changed = TLS.replace("a.example", "b.example").replace("port: 80}]}]", "port: 80, weight: 7}]}]")
    found = between(tmp_path, {"mesh": MESH, "r": TLS}, {"mesh": MESH, "r": changed})
    assert [(item.what, item.rule, item.old, item.new) for item in found] == [
        ("rule", "TLSRoute app/t, rule 0", '{"serverNames": ["a.example"]}', '{"serverNames": ["b.example"]}'),
        ("weights", "TLSRoute app/t, rule 0", "app/web:80/tcp 1", "app/web:80/tcp 7"),
    ]


@pytest.mark.parametrize(
    ("route", "value", "reported"),
    [
        (ROUTE, "xfcc", "x-forwarded-client-cert, spiffe://cluster.local"),
        (TLS, "proxy-protocol", "PROXY protocol to app/web:80/tcp, spiffe://cluster.local"),
    ],
)
def test_what_servers_are_told_of_clients(tmp_path: Path, route: str, value: str, reported: str) -> None:
    annotated = MESH.replace("{name: web,", f"{{name: web, annotations: {{weft.dev/client-identity: {value}}},")
    old, new = ({"mesh": mesh, "r": route} for mesh in (MESH, annotated))
    assert between(tmp_path, old, new) == [Change("app/web", 80, "TCP", "client identity", "", "", reported, ALL)]


@pytest.mark.parametrize("more", ["retry: {attempts: 3}", "sessionPersistence: {sessionName: s}"])
def test_attempts_and_sessions_are_what_a_rule_says(tmp_path: Path, more: str) -> None:
    changed = SPLIT.replace("name: all", f"name: all\n    {more}")
    (change,) = between(tmp_path, {"mesh": MESH, "r": SPLIT}, {"mesh": MESH, "r": changed})
    assert more.partition(":")[0][:5] in change.new


def test_the_path_of_a_session_s_cookie_is_a_difference(tmp_path: Path) -> None:
    old, new = (
        SPLIT.replace("name: all", f"name: all\n    sessionPersistence: {{cookie: {{path: {at}}}}}")
        for at in ("/a", "/b")
    )
    (change,) = between(tmp_path, {"mesh": MESH, "r": old}, {"mesh": MESH, "r": new})
    assert ('"path": "/a"' in change.old, '"path": "/b"' in change.new) == (True, True)


def dated(name: str, day: int) -> str:
    stamp = f"creationTimestamp: '2026-01-0{day}T00:00:00Z'"
    return ROUTE.replace("{name: r, namespace: app}", f"{{name: {name}, namespace: app, {stamp}}}")


def test_routes_of_another_age_decide_in_another_order(tmp_path: Path) -> None:
    old = {"mesh": MESH, "a": dated("a", 1), "b": dated("b", 2)}
    (change,) = between(tmp_path, old, {**old, "a": dated("a", 3)})
    rules = [f"HTTPRoute app/{name}, rule 0, match 0" for name in "ab"]
    assert (change.what, change.old, change.new) == ("order", ", ".join(rules), ", ".join(reversed(rules)))


def test_rules_of_one_name_are_told_of_together(tmp_path: Path) -> None:
    twice = SPLIT.replace("  - name: all\n", "  - {name: all, matches: [{path: {value: /a}}]}\n  - name: all\n")
    changed = twice.replace("/a", "/b")
    (change,) = between(tmp_path, {"mesh": MESH, "r": twice}, {"mesh": MESH, "r": changed})
    assert '"/b"' in change.new
    assert change.new.count("match") == 2


def test_a_port_that_is_seen_from_now_on(tmp_path: Path):
    seen = MESH.replace("{name: app, labels: {weft.dev/mode: l7}}", "{name: app, labels: {weft.dev/mode: l7, S: all}}")
    changes = between(tmp_path, {"a": MESH}, {"a": seen.replace("S: all", "weft.dev/l7-scope: all")})
    assert path("app/web", 80, "kernel", "waypoint (Service app/web)", *ALL) in changes
    assert {change.port for change in changes} == {80}
