"""The real kind takes our configuration, up to the first command that it runs in a container."""

import json
import re
from pathlib import Path

import builds
import kind_provider
import pytest
import yaml
from recorded import Recorded, check_golden


@pytest.fixture
def kind() -> Path:
    """The program."""
    try:
        return builds.built(builds.KIND, "kind")
    except LookupError as error:
        pytest.skip(str(error))


@pytest.fixture
def created(recorded: Recorded, kind: Path) -> Recorded:
    """What kind did until kubeadm failed."""
    file = recorded.folder / "kind.json"
    file.write_text(json.dumps(kind_provider.configuration()))
    done = recorded.run(kind, "create", "cluster", f"--config={file}", f"--kubeconfig={recorded.folder / 'kubeconfig'}")
    assert "failed to init node with kubeadm" in done.stderr, done.stderr
    return recorded


def test_containers_are_started_from_an_image_by_digest(created: Recorded) -> None:
    lines = sorted(line for line in created.calls().splitlines() if line.startswith("docker run"))
    assert all("@sha256:" in line.split()[-1] for line in lines)
    names = {line.split()[3] for line in lines}
    nodes = "\n".join(node.name for node in kind_provider.NODES)
    assert names == {"NAME-control-plane", *created.named(nodes).splitlines()}
    # kind chooses the API server's port.
    text = re.sub(r"127\.0\.0\.1:\d+:", "127.0.0.1:PORT:", "".join(f"{line}\n" for line in lines))
    check_golden("containers.txt", text)


def test_kubeadm_is_configured_with_an_audit_log_and_kind_s_cgroups(created: Recorded) -> None:
    text = (created.folder / "kubeadm.yaml").read_text()
    documents = {document["kind"]: document for document in yaml.safe_load_all(text)}
    arguments = {item["name"] for item in documents["ClusterConfiguration"]["apiServer"]["extraArgs"]}
    assert {"audit-policy-file", "audit-log-path"} < arguments
    kubelet = documents["KubeletConfiguration"]
    assert (kubelet["cgroupDriver"], kubelet["cgroupRoot"]) == ("systemd", "/kubelet")
    root = kubelet["cgroupRoot"].strip("/")
    assert kind_provider.kubepods("") == f"/sys/fs/cgroup/{root}.slice/{root}-kubepods.slice"
    overlay = (kind_provider.KUSTOMIZATION / "kustomization.yaml").read_text()
    assert f"--kubepods={kind_provider.kubepods('')}}}" in overlay
    check_golden("kubeadm.yaml", created.named(text))
