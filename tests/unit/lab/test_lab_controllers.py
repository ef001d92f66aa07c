"""The lab's controllers as functions: objects in, objects out."""

import pytest
import yaml

from agent.ir.addresses import family_of
from agent.lab.controllers import Seen, pod_ips, step
from agent.lab.families import RANGES, IPFamily
from agent.lab.proxy import ruleset
from agent.lab.store import key_of, merged, parse
from agent.model.meta import Key

MANIFEST = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: 2
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: main, image: weft/echo, ports: [{name: http, containerPort: 8080}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: http}]}
---
apiVersion: v1
kind: Service
metadata: {name: outside, namespace: shop}
spec: {ports: [{port: 80}]}
"""


def world():
    return {key_of(item): merged(None, item) for item in parse(MANIFEST)}


def of_kind(objects, kind):
    return [item for key, item in sorted(objects.items()) if key.kind == kind]


def test_a_second_step_changes_nothing():
    once = step(world(), {})
    assert step(once, {}) == once


def test_readiness_reaches_the_slice_and_the_rules():
    objects = step(world(), {})
    pods = of_kind(objects, "Pod")
    ready = step(objects, {pods[0]["metadata"]["uid"]: Seen("Running", True)})
    (item,) = of_kind(ready, "EndpointSlice")
    assert [endpoint["conditions"]["ready"] for endpoint in item["endpoints"]] == [True, False]
    assert item["ports"] == [{"name": "", "protocol": "TCP", "port": 8080}]
    assert f"0 : {pods[0]['status']['podIP']} . 8080" in ruleset(ready)
    assert pods[1]["status"]["podIP"] not in ruleset(ready)


def test_allocations_stay_when_a_manifest_is_applied_again():
    objects = step(world(), {})
    service = objects[Key("Service", "shop", "web")]
    wanted = next(item for item in parse(MANIFEST) if key_of(item) == Key("Service", "shop", "web"))
    again = merged(service, wanted)
    assert again == service
    changed = merged(service, {**wanted, "spec": {**wanted["spec"], "ports": [{"port": 81}]}})
    assert changed["metadata"]["generation"] == service["metadata"]["generation"] + 1
    assert changed["spec"]["clusterIP"] == service["spec"]["clusterIP"]


def test_a_service_without_selector_gets_no_slice():
    names = {
        item["metadata"]["labels"]["kubernetes.io/service-name"] for item in of_kind(step(world(), {}), "EndpointSlice")
    }
    assert names == {"web"}


def test_pods_go_with_their_deployment():
    objects = step(world(), {})
    del objects[Key("Deployment", "shop", "web")]
    assert of_kind(step(objects, {}), "Pod") == []


def test_pods_of_an_old_template_serve_until_the_new_are_ready():
    objects = step(world(), {})
    old = {pod["metadata"]["uid"] for pod in of_kind(objects, "Pod")}
    key = Key("Deployment", "shop", "web")
    template = objects[key]["spec"]["template"]
    labelled = {**template, "metadata": {"labels": {"app": "web", "version": "2"}}}
    objects[key] = {**objects[key], "spec": {**objects[key]["spec"], "template": labelled}}
    both = step(objects, {})
    new = {pod["metadata"]["uid"] for pod in of_kind(both, "Pod")} - old
    assert len(of_kind(both, "Pod")) == 4
    after = step(step(both, dict.fromkeys(new, Seen("Running", True))), dict.fromkeys(new, Seen("Running", True)))
    assert {pod["metadata"]["uid"] for pod in of_kind(after, "Pod")} == new


@pytest.mark.parametrize(
    "text",
    [
        "kind: [broken",
        "just text",
        "{kind: Unheard, metadata: {name: of}}",
        "{kind: Service, metadata: {name: no-spec}}",
        "{kind: Service, metadata: {name: port}, spec: {ports: [{port: 70000}]}}",
        "{kind: Deployment, metadata: {name: empty}, spec: {}}",
        "{kind: HTTPRoute, metadata: {name: ../../etc}}",
    ],
)
def test_what_the_lab_cannot_work_with_stays_text(text):
    assert list(parse(f"{text}\n---\n{{kind: Namespace, metadata: {{name: after}}}}\n")) == [
        f"{text}\n",
        {"kind": "Namespace", "metadata": {"name": "after"}},
    ]


@pytest.mark.parametrize(
    ("lab", "fields", "wanted"),
    [
        (IPFamily.IPV6, "", ["IPv6"]),
        (IPFamily.DUAL, "", ["IPv4"]),
        (IPFamily.DUAL, "ipFamilies: [IPv6]", ["IPv6"]),
        (IPFamily.DUAL, "ipFamilyPolicy: PreferDualStack", ["IPv4", "IPv6"]),
        (IPFamily.DUAL, "{ipFamilyPolicy: RequireDualStack, ipFamilies: [IPv6]}", ["IPv6", "IPv4"]),
        (IPFamily.DUAL, 'clusterIP: "fd00:10:96::77"', ["IPv6"]),
    ],
)
def test_a_service_has_an_address_and_slices_of_each_of_its_families(lab: IPFamily, fields: str, wanted: list[str]):
    objects = world()
    service = objects[Key("Service", "shop", "web")]
    service["spec"] |= yaml.safe_load(fields or "{}")
    first = step(objects, {}, RANGES[lab])
    spec = first[Key("Service", "shop", "web")]["spec"]
    assert (spec["ipFamilies"], spec["clusterIP"]) == (wanted, spec["clusterIPs"][0])
    assert [f"IPv{family_of(address)}" for address in spec["clusterIPs"]] == wanted
    slices = {item["addressType"]: item for item in of_kind(first, "EndpointSlice")}
    assert sorted(slices) == sorted(wanted)
    pods = [pod_ips(pod) for pod in of_kind(first, "Pod")]
    assert all(len(addresses) == len(RANGES[lab]) for addresses in pods)
    for name, item in slices.items():
        found = [endpoint["addresses"][0] for endpoint in item["endpoints"]]
        assert sorted(found) == sorted(a for both in pods for a in both if f"IPv{family_of(a)}" == name)
    assert step(first, {}, RANGES[lab]) == first


def test_each_family_has_its_rules():
    objects = world()
    objects[Key("Service", "shop", "web")]["spec"]["ipFamilyPolicy"] = "RequireDualStack"
    once = step(objects, {}, RANGES[IPFamily.DUAL])
    seen = {pod["metadata"]["uid"]: Seen("Running", True) for pod in of_kind(once, "Pod")}
    ready = step(once, seen, RANGES[IPFamily.DUAL])
    rules = ruleset(ready, RANGES[IPFamily.DUAL])
    ipv4, _, ipv6 = rules.partition("table ip6 services")
    for pod in of_kind(ready, "Pod"):
        first, second = pod_ips(pod)
        assert f"{first} . 8080" in ipv4
        assert f"{second} . 8080" in ipv6
