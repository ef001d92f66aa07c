"""Whatever is published, whenever the client answers, and whatever it refuses: it gets there, make before break, and no
kind ever has two unanswered responses.
"""

from collections import deque
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.ir.resources import ResourceName, ResourceType
from agent.waypoint.messages import Request, Response, Snapshot
from agent.waypoint.stream import RESPONSE_BYTES, Stream

C, E, L, R = ResourceType.CLUSTER, ResourceType.ENDPOINT, ResourceType.LISTENER, ResourceType.ROUTE
CLUSTERS = ("a", "b", "c")
TABLES = ("r", "s")
VERSIONS = st.sampled_from(["1", "2", "3"])
# A snapshot: clusters with the versions of themselves and of their endpoints, and tables that lead to some of them.
BACKENDS = st.dictionaries(st.sampled_from(CLUSTERS), st.tuples(VERSIONS, VERSIONS), min_size=1)


def leads(version: str) -> tuple[str, ...]:
    """Where a table leads: its version says it, as a hash of its content would."""
    return tuple(version.partition(":")[2])


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    found = draw(BACKENDS)
    versions = {ResourceName(C, name): cluster for name, (cluster, _) in found.items()}
    versions |= {ResourceName(E, name): endpoints for name, (_, endpoints) in found.items()}
    for kind, names in ((R, TABLES), (L, ("l", "m"))):
        for name in draw(st.sets(st.sampled_from(names))):
            to = draw(st.sets(st.sampled_from(sorted(found))))
            versions[ResourceName(kind, name)] = f"{draw(VERSIONS)}:{''.join(sorted(to))}"
    refs = {name: leads(version) for name, version in versions.items() if name.kind in (L, R)}
    # Two of the large ones are too much for one response.
    sizes = {name: draw(st.sampled_from([0, RESPONSE_BYTES - 1])) for name in versions}
    return Snapshot(versions, refs, sizes)


@dataclass
class Client:
    """An Envoy: it takes responses in order, refuses bad versions, and answers each kind when it is let."""

    bad: frozenset[tuple[ResourceType, str, str]]
    stream: Stream = field(default_factory=Stream)
    inbox: deque[Response] = field(default_factory=deque)
    answers: dict[ResourceType, Request] = field(default_factory=dict)
    unanswered: set[ResourceType] = field(default_factory=set)
    has: dict[ResourceType, dict[str, str]] = field(default_factory=lambda: {kind: {} for kind in ResourceType})

    def get(self, responses: list[Response]) -> None:
        for response in responses:
            assert response.kind not in self.unanswered, "two unanswered responses of a kind"
            self.unanswered.add(response.kind)
            self.inbox.append(response)

    def take(self) -> None:
        """Apply the oldest response. Clusters and listeners: the good ones; others: those before the first bad one."""
        response = self.inbox.popleft()
        kind, has = response.kind, self.has[response.kind]
        is_bad = {name: (kind, name, version) in self.bad for name, version in response.resources.items()}
        for name, version in response.resources.items():
            if is_bad[name] and kind not in (C, L):
                break
            if not is_bad[name]:
                self.apply(kind, name, version)
        for name in response.removed:
            has.pop(name, None)
            if kind is C:
                self.cut(name)
        self.answers[kind] = Request(kind, nonce=response.nonce, error="bad" if any(is_bad.values()) else "")

    def apply(self, kind: ResourceType, name: str, version: str) -> None:
        new = name not in self.has[kind]
        self.has[kind][name] = version
        if kind in (L, R):
            for cluster in leads(version):
                assert self.serves(cluster), f"{kind.label} {name} leads to {cluster}, which is not there"
        if kind is C and new:
            self.get(self.stream.on_request(Request(E, subscribe=(name,))))

    def serves(self, cluster: str) -> bool:
        """Whether traffic to a cluster can be answered, or never can be, because it was refused."""
        refused = {name for kind, name, _ in self.bad if kind in (C, E)}
        return cluster in refused or (cluster in self.has[C] and cluster in self.has[E])

    def cut(self, cluster: str) -> None:
        """A cluster went: nothing leads there any more, but for what this client keeps because it refused the next."""
        kept = {name for kind, name, _ in self.bad if kind in (L, R)}
        users = {name for kind in (L, R) for name, version in self.has[kind].items() if cluster in leads(version)}
        assert users <= kept, f"{users} still lead to {cluster}"
        self.has[E].pop(cluster, None)

    def answer(self, kind: ResourceType) -> None:
        request = self.answers.pop(kind)
        self.unanswered.discard(kind)
        self.get(self.stream.on_request(request))

    def settle(self) -> None:
        while self.inbox or self.answers:
            while self.inbox:
                self.take()
            if self.answers:
                self.answer(next(iter(self.answers)))


def published(client: Client, snapshot: Snapshot) -> None:
    client.get(client.stream.on_snapshot(snapshot))


@st.composite
def refusals(draw: st.DrawFn) -> frozenset[tuple[ResourceType, str, str]]:
    one = st.one_of(
        st.tuples(st.sampled_from([C, E]), st.sampled_from(CLUSTERS), VERSIONS),
        st.tuples(st.just(R), st.sampled_from(TABLES), st.builds("{}:a".format, VERSIONS)),
    )
    return frozenset(draw(st.lists(one, max_size=3)))


@settings(max_examples=300, deadline=None)
@given(st.lists(snapshots(), min_size=1, max_size=6), refusals(), st.data())
def test_the_client_gets_there_with_one_response_of_each_kind_at_a_time(
    snapshots: list[Snapshot], bad: frozenset[tuple[ResourceType, str, str]], data: st.DataObject
) -> None:
    client = Client(bad)
    published(client, snapshots[0])
    for request in (Request(C), Request(L), Request(R, subscribe=TABLES)):
        client.get(client.stream.on_request(request))
    for snapshot in snapshots[1:]:
        for step in data.draw(st.lists(st.sampled_from(["take", "answer"]), max_size=6)):
            if step == "take" and client.inbox:
                client.take()
            elif step == "answer" and client.answers:
                client.answer(data.draw(st.sampled_from(sorted(client.answers))))
        published(client, snapshot)
    client.settle()
    wanted = snapshots[-1].versions
    refused = {name for name, version in wanted.items() if (*name_of(name), version) in bad}
    irrelevant = {ResourceName(E, name.name) for name in refused if name.kind is C}
    assert refused - irrelevant <= set(client.stream.rejected) <= refused
    assert client.stream.acknowledged >= wanted.keys() - refused - irrelevant
    for kind in (C, E, L, R):
        there = {ResourceName(kind, name): version for name, version in client.has[kind].items()}
        due = {name: v for name, v in wanted.items() if name.kind is kind and name not in refused | irrelevant}
        assert due.items() <= there.items()
        assert there.keys() <= {*wanted} | {ResourceName(E, name) for name in CLUSTERS}


def name_of(name: ResourceName) -> tuple[ResourceType, str]:
    return name.kind, name.name
