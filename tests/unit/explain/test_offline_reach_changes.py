"""`weft diff`: which clients may connect to which pods with one of two directories of manifests only."""

import json
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from agent.explain.protection import Protection
from agent.explain.reach_changes import ReachChange, changes_between
from agent.ir.identity import Identity, Workload
from agent.ir.policy import ANY, Policy, PolicyRule, ServiceAccount, decide
from agent.model.meta import Key
from support.explain import deployment, manifests, service, weft
from support.parameters import parameters_document
from support.policies import WEB, application_document, from_account, http, policy_document

HTTP = {"port": 80, "targetPort": 8080}
SHOP = (service("web", HTTP), deployment("web", "web"), deployment("client", "client"))
POLICY = "AuthorizationPolicy app/p"
CLOSED = f"refused: no rule of {POLICY}"
OPEN = "allowed: no policy selects it, and the default of the mesh is Allow"


def rule(*sources: Any, ports: tuple[int, ...] = ()) -> dict[str, Any]:
    return {"sources": list(sources), **({"networkAttributes": {"ports": list(ports)}} if ports else {})}


def reach(tmp_path: Path, old: list[Any], new: list[Any]) -> list[dict[str, Any]]:
    """The changes of reach, without Services, whose pods are those of SHOP."""
    folders = (manifests(tmp_path / name, *SHOP, *more) for name, more in (("old", old), ("new", new)))
    done = weft("diff", *folders, "-o", "json")
    found = json.loads(done.stdout)["reach"]
    assert done.exit_code == bool(found), done.output
    return list(found)


def web_policy(*rules: Any) -> dict[str, Any]:
    return policy_document(*rules, selector=WEB)


def test_the_same_policies_in_another_form_change_nothing(tmp_path: Path) -> None:
    one, two = rule(from_account("a"), from_account("b")), rule(from_account("b"), from_account("a"))
    assert reach(tmp_path, [web_policy(one)], [web_policy(two)]) == []
    assert reach(tmp_path, [web_policy(one)], [web_policy(rule(from_account("a")), rule(from_account("b")))]) == []
    assert reach(tmp_path, [web_policy({})], []) == []


def test_a_source_and_a_port_that_come_and_go(tmp_path: Path) -> None:
    old, new = (
        web_policy(rule(from_account("a"), ports=(8080,))),
        web_policy(rule(from_account("b"), ports=(8080, 9090))),
    )
    rows = [
        (row["clients"], row["ports"], row["services"], row["effect"], row["old"], row["new"])
        for row in reach(tmp_path, [old], [new])
    ]
    first = f"allowed: {POLICY}, spec.rules[0]"
    assert rows == [
        (["app/a"], [8080], ["app/web:80"], "refused", first, CLOSED),
        (["app/b"], [8080, 9090], ["app/web:80"], "allowed", CLOSED, first),
    ]


def test_a_policy_that_comes_closes_its_pods_to_all_but_its_clients(tmp_path: Path) -> None:
    (row,) = reach(tmp_path, [], [web_policy(rule(from_account("client")))])
    assert row == {
        "pods": ["app/web"],
        "services": ["app/web:80"],
        "ports": None,
        "but": [],
        "clients": ["*"],
        "unchanged": ["app/client"],
        "effect": "refused",
        "old": OPEN,
        "new": CLOSED,
    }


def test_a_namespace_whose_accounts_differ_among_themselves(tmp_path: Path) -> None:
    everyone = [web_policy(rule(from_account("*"), from_account("x", "far")))]
    (row,) = reach(tmp_path, everyone, [web_policy(rule(from_account("kept"), from_account("x", "far")))])
    assert (row["clients"], row["unchanged"], row["effect"]) == (["app/*"], ["app/kept"], "refused")
    (row,) = reach(tmp_path, [web_policy(rule(from_account("*")), rule(from_account("x", "far")))], [web_policy({})])
    assert (row["clients"], row["unchanged"], row["effect"]) == (["*"], ["app/*", "far/x"], "allowed")


def test_the_default_of_the_mesh_changes_the_reach_of_pods_without_policies(tmp_path: Path) -> None:
    (row,) = reach(tmp_path, [web_policy({})], [web_policy({}), parameters_document("SameNamespace")])
    assert (row["pods"], row["clients"], row["unchanged"]) == (["app/client"], ["*"], ["app/*"])
    assert row["new"] == "refused: the default SameNamespace of MeshParameters default"


def test_other_requests_of_a_client(tmp_path: Path) -> None:
    old, new = (
        application_document({**rule(from_account("client")), **http(methods=["GET"])}, *more)
        for more in ((), (http(paths=[("PathPrefix", "/a")]),))
    )
    other, of_client = reach(tmp_path, [old], [new])
    through = f"{POLICY}, spec.rules[0], HTTP requests through the waypoint"
    assert (other["clients"], other["unchanged"], other["effect"]) == (["*"], [], "allowed")
    assert (of_client["clients"], of_client["effect"]) == (["app/client"], "requests")
    assert (of_client["old"], of_client["new"]) == (f"allowed: {through}: GET", f"allowed: {through}: /a/*; GET")


def test_pods_that_one_directory_has_are_judged_by_both(tmp_path: Path) -> None:
    more = deployment("more", "more")
    assert reach(tmp_path, [], [more]) == []
    assert reach(tmp_path, [more, web_policy({})], [web_policy({})]) == []
    labels = {"matchLabels": {"app": "more"}}
    (row,) = reach(tmp_path, [], [more, policy_document(selector=labels)])
    assert (row["pods"], row["effect"]) == (["app/more"], "refused")


TABLE = """\
changes: none
reach
PODS     PORTS       SERVICES    CLIENTS         OLD
app/web  every port  app/web:80  every client    allowed: no policy selects it, and the default of the mesh is Allow
                                 but app/client
"""


def test_the_table_for_people(tmp_path: Path) -> None:
    old = manifests(tmp_path / "old", *SHOP)
    done = weft("diff", old, manifests(tmp_path / "new", *SHOP, web_policy(rule(from_account("client")))))
    lines = [line.partition("  NEW")[0].partition(f"  {CLOSED}")[0].rstrip() for line in done.stdout.splitlines()]
    assert (done.exit_code, "".join(f"{line}\n" for line in lines)) == (1, TABLE)
    assert CLOSED in done.stdout
    assert weft("diff", old, old).stdout == "changes: none\nreach: none\n"


NAMESPACES, ACCOUNTS, PORTS = st.sampled_from("ab"), st.sampled_from("xy"), st.integers(1, 3)
SOURCES = st.builds(ServiceAccount, NAMESPACES, ACCOUNTS | st.just(ANY))
RULES = st.builds(PolicyRule, st.none() | st.frozensets(SOURCES, max_size=3), st.frozensets(PORTS, max_size=2))
KEYS = st.builds(Key, st.just("AuthorizationPolicy"), st.just("a"), ACCOUNTS)
POLICIES = st.lists(st.builds(Policy, KEYS, st.lists(RULES, max_size=3).map(tuple)), max_size=2).map(tuple)
CLIENTS = st.none() | st.builds(Identity, NAMESPACES, st.sampled_from(["x", "y", "z"]), st.just(Workload(*"ab12")))


def concerns(change: ReachChange, client: Identity | None, port: int) -> bool:
    """Whether a change is about a client and a port, by what its fields say."""
    names = [f"{client.namespace}/{client.service_account}", f"{client.namespace}/*"] if client else []
    name = next((it for it in (*names, "*") if it in change.clients or it in change.unchanged), None)
    at = port in change.ports if change.ports is not None else port not in (change.but or ())
    return at and name in change.clients


@given(POLICIES, POLICIES, CLIENTS, st.integers(1, 4))
def test_the_changes_are_the_differences_of_the_decisions(
    old: tuple[Policy, ...], new: tuple[Policy, ...], client: Identity | None, port: int
) -> None:
    found = changes_between(*(Protection(it, "", "Allow") for it in (old, new)), {})
    effects = {change.effect for change in found if concerns(change, client, port)}
    before, after = (decide(it, client, port).allowed for it in (old, new))
    assert effects == ({"allowed" if after else "refused"} if before != after else set())
