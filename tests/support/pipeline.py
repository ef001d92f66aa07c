"""Objects through decoding, translation, rendering and encoding, as the agent does it."""

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from agent.ir.addresses import Addresses
from agent.ir.resources import Json, ResourceName, ResourceType
from agent.kube.decode import KINDS, decode, decode_json
from agent.model.change import Change, Delete, Problem, Upsert
from agent.model.core import Pod
from agent.model.facts import NodeWaypoints, PodCgroup
from agent.model.meta import Object
from agent.store.store import Store
from agent.translate.incremental import CLIENT_ALLOW_LIST, Translator
from agent.translate.options import Collector, Options
from agent.waypoint.encode import Encoded, encode
from agent.waypoint.xds.render import render

OPTIONS = Options("here", zone="east", collector=Collector("collector.example", 4317))
# Where Envoy listens.
WAYPOINT, PORT = Addresses("10.0.0.1"), 20000


@dataclass
class Result:
    """What became of a set of objects.

    - `decoded`: for each of them, whether it was decoded; one that weft does not use counts as not decoded.
    - `sources`, `resources`: what Envoy would get, as JSON and encoded.
    - `needs`: the resources that a listener depends on, itself among them.
    """

    decoded: list[bool] = field(default_factory=list)
    sources: dict[ResourceName, Json] = field(default_factory=dict)
    resources: dict[ResourceName, Encoded] = field(default_factory=dict)
    needs: dict[str, frozenset[ResourceName]] = field(default_factory=dict)

    @property
    def kinds(self) -> Counter[ResourceType]:
        """The number of resources of each type."""
        return Counter(name.kind for name in self.resources)


def run(items: list[Any]) -> Result:
    """All steps, and the deletion of everything. Each object that is refused has a reason that names it and a field."""
    result = Result()
    objects: list[Object] = []
    for item in items:
        found = _decoded(item)
        result.decoded.append(bool(found))
        objects += found
    translator = Translator(Store(), OPTIONS)
    translator.update(_changes(objects))
    for output in translator.outputs.values():
        rendered = render(output, OPTIONS)
        result.sources |= rendered.resources
        result.needs |= rendered.dependencies
        for name, resource in rendered.resources.items():
            listen = (WAYPOINT, PORT) if name.kind is ResourceType.LISTENER else ()
            result.resources[name] = encode(name, resource, *listen)
    translator.update([Delete(item.key) for item in objects])
    left = translator.outputs.keys() - {CLIENT_ALLOW_LIST}
    assert not left, f"without objects there is output of {left}"
    return result


def _decoded(item: Any) -> list[Object]:
    objects = []
    for found in decode(item, "here"):
        if isinstance(found, Problem):
            assert found.subject
            assert found.field
        else:
            objects.append(found)
    kind = item.get("kind") if isinstance(item, dict) else None
    if isinstance(kind, str) and kind in KINDS:
        # As it comes from a server.
        from_server = decode_json(json.dumps(item).encode(), kind, "there")
        assert isinstance(from_server, Problem | Object)
    return objects


def _changes(objects: list[Object]) -> list[Change]:
    """The objects, and a cgroup for each pod."""
    pods = dict.fromkeys(item.metadata.uid for item in objects if isinstance(item, Pod))
    facts = [PodCgroup(uid, number) for number, uid in enumerate(pods, 1)]
    return [Upsert(NodeWaypoints(tuple(WAYPOINT))), *map(Upsert, facts), *map(Upsert, objects)]
