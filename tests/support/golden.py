"""Golden cases: manifests in, the plan out, as text that people can review."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from agent.ir.authorization import ServerPlan
from agent.ir.http import HTTPListenerIR, Rule, TLSListenerIR, TLSRule
from agent.ir.plan import FrontendPlan, OnBackendLoss, Output, ParentStatus, PodPlan
from agent.ir.requirements import Requirement
from agent.ir.resources import Json, ResourceName
from agent.ir.tables import PodFlag, address_text
from agent.kube.decode import decode
from agent.kube.documents import split
from agent.model.change import Problem, Upsert
from agent.model.facts import NodeWaypoints, PodCgroup
from agent.store.store import Store
from agent.translate.filters.request_mirror import mirrors
from agent.translate.incremental import KINDS, STATUS_KINDS, Translator
from agent.translate.options import Options
from agent.translate.slots import shares
from agent.waypoint.xds.render import render

OPTIONS = Options("here", zone="east")


def read(case: Path) -> list[Upsert]:
    """The case's objects; documents `kind: PodCgroup` and `kind: NodeWaypoints` are facts of the node."""
    changes = []
    for document in split((case / "in.yaml").read_text(), is_json=False):
        assert not document.error, document.error
        if document.value["kind"] == "PodCgroup":
            changes.append(Upsert(PodCgroup(document.value["podUid"], document.value["cgroupId"])))
            continue
        if document.value["kind"] == "NodeWaypoints":
            changes.append(Upsert(NodeWaypoints(tuple(document.value["addresses"]))))
            continue
        for found in decode(document.value, f"{case.name} document {document.number}"):
            assert not isinstance(found, Problem), str(found)
            changes.append(Upsert(found))
    return changes


def translated(case: Path) -> dict[str, Any]:
    """The plan of a case, and the statuses of its policies, for people."""
    translator = Translator(Store(), OPTIONS, tuple({*KINDS, *STATUS_KINDS}))
    translator.update(read(case))
    return {key: value for key, value in plan(translator.outputs.values()).items() if value}


def resources(case: Path) -> dict[ResourceName, Json]:
    """The xDS resources of a case."""
    translator = Translator(Store(), OPTIONS)
    translator.update(read(case))
    made = [render(item, OPTIONS) for item in translator.outputs.values()]
    return {name: value for item in made for name, value in item.resources.items()}


def clients(required: Requirement) -> str:
    """Those that meet a requirement whatever they request, and what others may request."""
    rules = (
        f"{'anyone' if rule.anyone else ', '.join(map(str, rule.clients))} by {rule.conditions}"
        for rule in required.rules
    )
    return "; ".join((", ".join(map(str, required.clients)) or "nobody", *rules))


def plan(outputs: Iterable[Output]) -> dict[str, Any]:
    """All outputs merged. Units with the same resource must have the same content of it."""
    tables = ("pods", "servers", "frontends", "resources", "needs", "rules", "requirements", "statuses")
    merged: dict[str, dict[Any, Any]] = {name: {} for name in tables}
    warnings: set[str] = set()
    for item in outputs:
        made = render(item, OPTIONS)
        parts: tuple[Mapping[Any, Any], ...] = (
            item.pods,
            item.servers,
            item.frontends,
            made.resources,
            made.dependencies,
            item.listeners,
            item.requirements,
            item.statuses,
        )
        for table, part in zip(merged.values(), parts, strict=True):
            assert all(table.get(key, value) == value for key, value in part.items())
            table.update(part)
        warnings |= set(item.warnings)
    return {
        "pods": {cgroup: pod_text(pod) for cgroup, pod in sorted(merged["pods"].items())},
        "protected": {cgroup: server_text(server) for cgroup, server in sorted(merged["servers"].items())},
        "frontends": {str(name): frontend(value) for name, value in sorted(merged["frontends"].items())},
        "resources": sorted(f"{name.kind.name.lower()} {name.name}" for name in merged["resources"]),
        "needs": {
            name: sorted(f"{item.kind.name.lower()} {item.name}" for item in needs)
            for name, needs in sorted(merged["needs"].items())
        },
        "rules": {name: rules(found) for name, found in sorted(merged["rules"].items())},
        "requirements": {
            backend.cluster: [f"{item.name}: {clients(item)}" for item in found]
            for backend, found in sorted(merged["requirements"].items(), key=lambda item: item[0].cluster)
        },
        "statuses": {
            str(key): [parent(item) for item in merged["statuses"][key]] for key in sorted(merged["statuses"])
        },
        "warnings": sorted(warnings),
    }


def pod_text(pod: PodPlan) -> str:
    """A pod's row in one line."""
    flags = " consumer-routes" if PodFlag.CONSUMER_ROUTES in pod.flags else ""
    mode = "l4 only" if pod.l4_only else pod.mode.label if pod.supported else "Unsupported"
    return f"{pod.pod.namespace}/{pod.pod.name} {mode} {','.join(pod.addresses) or 'no address'}{flags}"


def server_text(server: ServerPlan) -> str:
    """A protected pod in one line: what decides, the accounts that it names, and the number of grants."""
    accounts = ", ".join(sorted(map(str, server.sources))) or "no account"
    return f"{server.pod} by {', '.join(map(str, server.policies))}: {accounts}; {len(server.grants)} grants"


def frontend(value: FrontendPlan) -> dict[str, Any]:
    """A frontend, with its alias table as the shares that it gives."""
    backends = {
        "refused" if where is None else f"{address_text(where[0])}:{where[1]}": f"{float(share):.6f}"
        for where, share in shares(value.slots).items()
    }
    found: dict[str, Any] = {"mode": value.mode.label, "backends": dict(sorted(backends.items())) or "refused"}
    if value.affinity_seconds:
        found["affinitySeconds"] = value.affinity_seconds
    if value.on_backend_loss is OnBackendLoss.RESET:
        found["onBackendLoss"] = value.on_backend_loss.value
    if value.listener:
        found |= {"listener": value.listener, "onLoss": value.on_loss.value}
    return found


def rules(found: HTTPListenerIR | TLSListenerIR) -> list[dict[str, Any]]:
    """Rules in the order in which they are tried."""
    return [tls_text(rule) if isinstance(rule, TLSRule) else rule_text(rule) for rule in found.rules]


def tls_text(rule: TLSRule) -> dict[str, Any]:
    """One TLSRoute's names and backends."""
    backends = [f"{item.weight} {item.backend.cluster if item.backend else 'invalid'}" for item in rule.backends]
    return {"rule": rule.name, "names": list(rule.server_names) or "any", "backends": backends}


def rule_text(rule: Rule) -> dict[str, Any]:
    """One rule, without empty fields."""
    timeouts = {"request": rule.request_timeout, "backend": rule.backend_timeout}
    parts: Mapping[str, Any] = {
        "match": compact(rule.match),
        "filters": [compact(item) for item in rule.filters],
        "backends": [
            f"{item.weight} {item.backend.cluster if item.backend else 'invalid'}"
            + (f" {compact(item.filters)}" if item.filters else "")
            for item in rule.backends
        ],
        "mirrors": [f"{item.per_million} of a million to {item.backend.cluster}" for item in mirrors(rule.resolved)],
        "retry": compact(rule.retry) if rule.retry else "",
        "session": compact(rule.session) if rule.session else "",
        "timeoutsMs": {name: value for name, value in timeouts.items() if value is not None},
    }
    return {"rule": rule.name, **{name: value for name, value in parts.items() if value}}


def compact(value: Any) -> str:
    """A value's representation without unset fields."""
    text = repr(value)
    for nothing in ("=None", "=()"):
        while (end := text.find(nothing)) != -1:
            start = max(text.rfind(" ", 0, end), text.rfind("(", 0, end)) + 1
            rest = text[end + len(nothing) :]
            text = text[:start].rstrip(" ,") + rest if rest.startswith(")") else text[:start] + rest.removeprefix(", ")
    return text


def parent(status: ParentStatus) -> dict[str, Any]:
    """One parent's entry."""
    ref = status.parent_ref
    where = f"{ref.namespace or ''}/{ref.name}" + (f":{ref.port}" if ref.port else "")
    where += f" {ref.section_name}" if ref.section_name else ""
    conditions = {
        item.type: f"{item.status} {item.reason} (generation {item.observed_generation}): {item.message}"
        for item in status.conditions
    }
    return {"parent": where, **conditions}
