"""The ports of a pod that the kubelet connects to."""

from typing import Any

import pytest

from agent.kube.decode import decode
from agent.model.core import Pod

PORTS = [{"name": "http", "containerPort": 8080}, {"name": "https", "containerPort": 8443}]


def ports(**spec: Any) -> frozenset[int]:
    (found,) = decode({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": spec}, "here")
    assert isinstance(found, Pod), found
    return found.probe_ports


@pytest.mark.parametrize("kind", ["livenessProbe", "readinessProbe", "startupProbe"])
@pytest.mark.parametrize(
    ("action", "expected"),
    [
        ({"httpGet": {"path": "/", "port": 81, "scheme": "HTTP"}}, {81}),
        ({"httpGet": {"port": "https"}}, {8443}),
        ({"tcpSocket": {"port": "http"}}, {8080}),
        ({"grpc": {"port": 9000, "service": "a"}}, {9000}),
        ({"httpGet": {"port": "9001"}}, {9001}),
        ({"httpGet": {"port": "unnamed"}}, set()),
        ({"tcpSocket": {"port": 0}}, set()),
        ({"tcpSocket": {"port": 65536}}, set()),
        ({"httpGet": {"port": 81, "host": "127.0.0.1"}}, set()),
        ({"exec": {"command": ["true"]}}, set()),
    ],
)
def test_a_probe_s_port_is_a_number_or_a_name(kind: str, action: Any, expected: set[int]) -> None:
    assert ports(containers=[{"name": "a", "ports": PORTS, kind: {**action, "periodSeconds": 5}}]) == expected


def test_a_name_is_one_of_the_container_s_own_ports() -> None:
    named = {"name": "a", "ports": PORTS}
    other = {"name": "b", "livenessProbe": {"tcpSocket": {"port": "http"}}}
    assert ports(containers=[named, other]) == frozenset()


@pytest.mark.parametrize("hook", ["postStart", "preStop"])
def test_hooks_by_http_are_the_kubelet_s_too(hook: str) -> None:
    assert ports(containers=[{"name": "a", "ports": PORTS, "lifecycle": {hook: {"httpGet": {"port": "http"}}}}]) == {
        8080
    }


def test_only_init_containers_that_are_restarted_have_probes() -> None:
    probe = {"startupProbe": {"tcpSocket": {"port": 81}}}
    sidecar, once = {"name": "a", "restartPolicy": "Always", **probe}, {"name": "b", **probe}
    assert (ports(initContainers=[sidecar]), ports(initContainers=[once])) == ({81}, frozenset())


def test_the_ports_are_those_of_all_containers() -> None:
    first = {"name": "a", "livenessProbe": {"tcpSocket": {"port": 1}}, "readinessProbe": {"httpGet": {"port": 2}}}
    assert ports(containers=[first, {"name": "b", "livenessProbe": {"grpc": {"port": 3}}}]) == {1, 2, 3}


def test_a_pod_without_containers_has_none() -> None:
    assert ports() == frozenset()
