"""Pods come, get ready, die, come back and go; Services follow."""

import os
import signal
import time

import pytest

pytestmark = pytest.mark.node

MANIFEST = """
apiVersion: apps/v1
kind: Deployment
metadata: {{name: probed, namespace: pods}}
spec:
  replicas: {replicas}
  template:
    metadata: {{labels: {{app: probed}}}}
    spec:
      containers:
        - name: main
          image: weft/echo
          readinessProbe: {{httpGet: {{path: "{path}", port: 8080}}, periodSeconds: 1}}
---
apiVersion: v1
kind: Service
metadata: {{name: probed, namespace: pods}}
spec: {{selector: {{app: probed}}, ports: [{{port: 80, targetPort: 8080}}]}}
"""


@pytest.fixture
def probed(lab):
    """A Deployment that is not there before and after."""
    yield "pods/probed"
    lab.delete(MANIFEST.format(replicas=1, path="/"))
    lab.wait_for("its pods are gone", lambda: not pods(lab))
    lab.wait_ready()


def pods(lab):
    found = lab.store.load().items()
    return [pod for key, pod in found if key.kind == "Pod" and key.namespace == "pods"]


def endpoints(lab):
    slices = [item for key, item in lab.store.load().items() if key.kind == "EndpointSlice" and key.namespace == "pods"]
    return [endpoint for item in slices for endpoint in item["endpoints"] if endpoint["conditions"]["ready"]]


def test_a_service_without_ready_pod_refuses_until_one_is_ready(lab, probed):
    lab.apply(MANIFEST.format(replicas=1, path="/?status=503"))
    lab.wait_for("the pod runs", lambda: any(pod.get("status", {}).get("phase") == "Running" for pod in pods(lab)))
    refused = lab.exec("faces/face", "curl", "-sS", "-m", "5", "http://probed.pods/", check=False)
    assert refused.returncode == 7
    assert endpoints(lab) == []
    lab.apply(MANIFEST.format(replicas=1, path="/"))
    lab.wait_ready()
    lab.wait_for("an endpoint is ready", lambda: bool(endpoints(lab)))
    curl = ("curl", "-sS", "-m", "5", "http://probed.pods/")
    lab.wait_for("the rules follow", lambda: lab.exec("faces/face", *curl, check=False).returncode == 0)


def test_replicas_change_live(lab, probed):
    for count in (1, 3, 2):
        lab.apply(MANIFEST.format(replicas=count, path="/"))
        lab.wait_for(f"{count} endpoints", lambda: len(endpoints(lab)) == count)  # noqa: B023
    assert len({pod["status"]["podIP"] for pod in pods(lab)}) == 2


def test_a_killed_process_is_started_again(lab, probed):
    lab.apply(MANIFEST.format(replicas=1, path="/"))
    lab.wait_ready()
    (pod,) = pods(lab)
    procs = lab.paths.pod_cgroup(pod["metadata"]["uid"]) / "main" / "cgroup.procs"
    os.kill(int(procs.read_text().split()[0]), signal.SIGKILL)
    lab.wait_for("it restarted", lambda: pods(lab)[0]["status"]["restarts"] == 1)
    lab.wait_ready()
    assert pods(lab)[0]["metadata"]["uid"] == pod["metadata"]["uid"]


def test_what_is_no_manifest_is_kept_for_the_agent_and_hurts_nobody(lab):
    text = "kind: [broken\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: after-broken}\n"
    lines_printed = lab.apply(text)
    assert len(list(lab.paths.manifests.glob("broken-*.yaml"))) == 1
    assert lines_printed[1] == "Namespace after-broken created"
    lab.delete(text)
    assert not list(lab.paths.manifests.glob("broken-*.yaml"))


def test_labels(lab):
    lab.label("Namespace", "", "faces", "weft.dev/mode=l4")
    assert lab.get("Namespace", "", "faces")["metadata"]["labels"]["weft.dev/mode"] == "l4"
    lab.label("Namespace", "", "faces", "weft.dev/mode-")
    assert "weft.dev/mode" not in lab.get("Namespace", "", "faces")["metadata"]["labels"]


def test_a_busy_store_makes_no_pod_unready(lab, probed):
    """The store is locked for longer than a probe may take, while a probe is on its way."""
    lab.apply(MANIFEST.format(replicas=1, path="/?wait=0.9"))
    lab.wait_ready()
    (pod,) = pods(lab)
    for _ in range(5):
        with lab.store.locked():
            time.sleep(2.5)
    readiness = f"readiness pod=pods/{pod['metadata']['name']} ready="
    logged = [line.split(readiness)[1] for line in lab.log("daemon").splitlines() if readiness in line]
    assert logged[-1].startswith("True")
    assert len([value for value in logged if value.startswith("True")]) == 1


def test_a_pod_that_does_not_answer_is_unready_until_it_does(lab, probed):
    """Its server is stopped: it accepts, and does not answer."""
    lab.apply(MANIFEST.format(replicas=1, path="/"))
    lab.wait_ready()
    lab.wait_for("its endpoint is ready", lambda: len(endpoints(lab)) == 1)
    (pod,) = pods(lab)
    procs = lab.paths.pod_cgroup(pod["metadata"]["uid"]) / "main" / "cgroup.procs"
    server = int(procs.read_text().split()[0])
    os.kill(server, signal.SIGSTOP)
    try:
        lab.wait_for("its endpoint is not ready", lambda: endpoints(lab) == [])
    finally:
        os.kill(server, signal.SIGCONT)
    lab.wait_for("its endpoint is ready again", lambda: len(endpoints(lab)) == 1)
