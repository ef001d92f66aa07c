"""What decides who may connect to a pod, and which clients and ports it tells apart."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from agent.ir.identity import Identity, Workload
from agent.ir.policy import ANY, Policy, PolicyVerdict, ServiceAccount, decide, decide_level
from agent.ir.request_conditions import ANY_REQUEST, RequestConditions
from agent.model.core import Pod
from agent.model.meta import Key
from agent.model.parameters import KIND as PARAMETERS
from agent.store.store import TrackedView
from agent.translate.authorization import not_enforced
from agent.translate.enrolment import unsupported_runtime
from agent.translate.options import Options
from agent.translate.parameters import mesh_parameters
from agent.translate.policies import audit_of, policies_of

OTHER_PORT = 0
"""Stands for the ports that no rule names."""
Client = ServiceAccount | None
"""Clients that policies do not tell apart: the pods of a service account; with the name `ANY` the pods of a namespace
whose account no rule names; None: all other clients, also those without an identity.
"""
PortsOf = tuple[tuple[str, ...], tuple[int, ...] | None, tuple[int, ...] | None]
"""Ports of Services, and the ports of a pod to which they lead: these ports, or None and all ports but these."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What policies decide about clients at a port. `requests`: those that policies of the level Application allow, for
    people; none where these do not decide.
    """

    decided: PolicyVerdict
    requests: tuple[str, ...] = ()

    @property
    def allowed(self) -> bool:
        """Whether the clients may connect."""
        return self.decided.allowed

    @property
    def policy(self) -> Key | None:
        """The first policy that allows it, or the first one where none does; None where no policy selects the pod."""
        return self.decided.policy

    @property
    def rule(self) -> int | None:
        """The position of the rule that allows it, in the `spec.rules` of an AuthorizationPolicy."""
        return None if self.policy is None or self.policy.kind == PARAMETERS else self.decided.rule


@dataclass(frozen=True, slots=True)
class Protection:
    """What decides who may connect to a pod. Without policies every client may, for the reason `open`. `audited`: the
    policies that would decide too, if they were enforced.
    """

    policies: tuple[Policy, ...]
    open: str
    default: str
    audited: tuple[Key, ...] = ()

    def verdict(self, client: Client, port: int) -> Verdict:
        """Whether clients may connect to a port of the pod. With policies of the level Application they may by a
        waypoint, if each level admits them.
        """
        identity = identity_of(client)
        levels = [[policy for policy in self.policies if policy.application is level] for level in (True, False)]
        if not levels[0]:
            return Verdict(decide(self.policies, identity, port))
        verdicts = [decide_level(level, identity, port) for level in levels if level]
        refusal = next((verdict for verdict in verdicts if not verdict.allowed), None)
        rules = (rule for policy in levels[0] for rule in policy.rules if rule.matches(identity, port))
        return Verdict(refusal) if refusal else Verdict(verdicts[0], _requests(rule.conditions for rule in rules))

    @property
    def clients(self) -> list[Client]:
        """The clients that the policies tell apart: those that their rules name, then all others."""
        named = {source for policy in self.policies for rule in policy.rules for source in rule.sources or ()}
        return [*sorted(named), None]

    @property
    def ports(self) -> set[int]:
        """The ports that the policies tell apart."""
        return {OTHER_PORT}.union(*(rule.ports for policy in self.policies for rule in policy.rules))

    def reason(self, verdict: Verdict) -> str:
        """The reason for a verdict, for people, with the audited policies."""
        names = ", ".join(map(str, self.audited))
        return self._reason(verdict) + (f"; audited, not enforced: {names}" if names else "")

    def _reason(self, verdict: Verdict) -> str:
        if verdict.policy is None:
            return self.open
        if verdict.policy.kind == PARAMETERS:
            return f"the default {self.default} of {verdict.policy}"
        if verdict.allowed:
            through = f", HTTP requests through the waypoint: {'; '.join(verdict.requests)}" if verdict.requests else ""
            return f"{verdict.policy}, spec.rules[{verdict.rule}]{through}"
        return f"no rule of {', '.join(self.deciding(verdict))}"

    def deciding(self, verdict: Verdict) -> tuple[str, ...]:
        """The policy that allows, or all those that do not."""
        return tuple(str(policy.key) for policy in self.policies if not verdict.allowed or policy.key == verdict.policy)


def _requests(conditions: Iterable[RequestConditions]) -> tuple[str, ...]:
    found = set(conditions)
    return tuple(sorted(map(str, {ANY_REQUEST} if ANY_REQUEST in found else found)))


def protection_of(view: TrackedView, pod: Pod, options: Options) -> Protection:
    """What decides about a pod. `options` are those of its node."""
    namespace, default = pod.metadata.namespace, mesh_parameters(view).spec.authorization.default
    if reason := not_enforced(pod, unsupported_runtime(view, pod, options)):
        return Protection((), f"Unsupported, its policies are not enforced: {reason}", default)
    exempt = "" if default == "Allow" else f", from which namespace {namespace} is exempt"
    reason = f"no policy selects it, and the default of the mesh is {default}{exempt}"
    audit = audit_of(view, pod)
    return Protection(tuple(policies_of(view, pod)), reason, default, audit.audited if audit else ())


def client_id(client: Client) -> str:
    """Clients for programs: `NAMESPACE/ACCOUNT`, `NAMESPACE/*`, or `*`."""
    return str(client) if client else ANY


def ports_of(alike: Iterable[int], ports: Iterable[int], services: Mapping[str, int]) -> PortsOf:
    """Of `ports`, those that are `alike`: the ports of Services that lead there; these ports, or None where those that
    no rule names are among them; then all others.
    """
    found = set(alike)
    leading = tuple(sorted(name for name, number in services.items() if number in found))
    if OTHER_PORT in found:
        return leading, None, tuple(sorted(set(ports) - found))
    return leading, tuple(sorted(found)), None


def identity_of(client: Client) -> Identity | None:
    """An identity that stands for clients. No service account has the name `ANY`: of such an identity only rules about
    all accounts of the namespace hold.
    """
    return Identity(client.namespace, client.name, Workload(client.namespace, "", "", "")) if client else None
