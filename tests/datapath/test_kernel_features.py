"""Each thing that a kernel can lack is found by trying, and said: made by refusing it to the process that tries."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.cli.agent_client import NoAgentError, get
from agent.kernel import bpffs, features
from agent.kernel.links import detach
from agent.settings import PINS, STATUS_SOCKET
from support.datapath.node import CGROUPS, Node
from support.datapath.older_kernel import LINUX_5_8, as_on

pytestmark = pytest.mark.bpf
# Numbers of linux/bpf.h.
REFUSED = {
    "recvmsg4 hook": ["--hook", "18", "19"],
    "recvmsg6 hook": ["--hook", "18", "20"],
    "getpeername4 hook": ["--hook", "18", "29"],
    "getpeername6 hook": ["--hook", "18", "30"],
    "sock_ops hook": ["--hook", "13", "3"],
    "connect4 hook": ["--hook", "18", "10"],
    "connect6 hook": ["--hook", "18", "11"],
    "sendmsg4 hook": ["--hook", "18", "14"],
    "sendmsg6 hook": ["--hook", "18", "15"],
    "bpf_get_socket_cookie": ["--helper", "46"],
    "BPF_F_MMAPABLE": ["--map-flags", "1024"],
    "BPF_MAP_LOOKUP_BATCH": ["--command", "24"],
    "bpf_get_current_ancestor_cgroup_id": ["--helper", "123"],
    "cgroup links": ["--command", "28"],
    "bpf_sk_storage_get": ["--helper", "107"],
    "ring buffers": ["--map", "27"],
    "bpf_set_retval": ["--helper", "187"],
    "bpf_skc_to_tcp_sock": ["--helper", "137"],
    "kernel BTF": ["--without-btf"],
    "sk_lookup": ["--program", "30"],
    "SOCK_DESTROY": ["--without-sock-diag"],
}
# What cannot be without another: links of network namespaces are links, too.
WITH_IT = {"cgroup links": ["sk_lookup"], "connect4 hook": ["cgroup links"]}
TRY = "from agent.kernel import features; print(*(feature.name for feature in features.missing()), sep='\\n')"

FETCH = "from urllib.request import urlopen; print(urlopen('http://127.0.0.1:9464/metrics').read().decode())"


def test_each_feature_can_be_refused() -> None:
    assert [feature.name for feature in features.FEATURES] == list(REFUSED)


@pytest.mark.parametrize("name", REFUSED)
def test_a_feature_that_is_refused_is_found_missing(name: str, node: Node) -> None:
    command = as_on(REFUSED[name], sys.executable, "-c", TRY)
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert sorted(shown.splitlines()) == sorted([name, *WITH_IT.get(name, [])])


def sentence(command: list[str]) -> str:
    """What a command says that ends with an error."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    (message,) = [line for line in done.stderr.splitlines() if line.startswith("weft: ")]
    return message


def test_an_agent_does_not_start_without_what_it_needs(node: Node, tmp_path: Path) -> None:
    """What weft can do without is not in the sentence."""
    agent = ("agent", "--manifests", tmp_path, "--state", tmp_path / "state", "--kubepods", node.kubepods)
    both = [*REFUSED["ring buffers"], *REFUSED["bpf_set_retval"]]
    try:
        message = sentence(as_on(both, sys.executable, "-m", "agent", *agent))
    finally:
        bpffs.unmount(tmp_path / "state" / PINS)
    assert message.endswith("lacks what weft needs: ring buffers (Linux 5.8); Linux 5.8 has all of it")


@pytest.fixture
def state(node: Node, tmp_path: Path) -> Iterator[Path]:
    """The state folder of an agent as on Linux 5.8 without sock_diag, in the node's network."""
    state, kubepods = tmp_path / "state", CGROUPS / node.name / "older"
    kubepods.mkdir()
    lacking = [*LINUX_5_8, *REFUSED["SOCK_DESTROY"]]
    arguments = ("--manifests", tmp_path, "--state", state, "--kubepods", kubepods, "--node", "here")
    command = as_on(lacking, sys.executable, "-m", "agent", "agent", *arguments)
    with subprocess.Popen(["nsenter", f"--net=/run/netns/{node.name}", *command]) as process:
        try:
            yield state
        finally:
            process.terminate()
            process.wait()
            detach(state / PINS)
            bpffs.unmount(state / PINS)
            kubepods.rmdir()


def ready(state: Path) -> dict:
    """The agent's status once it is ready."""
    for _ in range(3000):  # an emulated machine is slow
        try:
            report = get(state / STATUS_SOCKET, "/status")
        except NoAgentError:
            report = {"ready": False}
        if report["ready"]:
            return report
        time.sleep(0.1)
    raise AssertionError("the agent did not become ready")


@pytest.mark.compiles
def test_status_and_metrics_show_what_is_missing(state: Path, node: Node) -> None:
    missing = ready(state)["kernel"]["missing"]
    assert [(one["feature"], one["since"]) for one in missing] == [
        ("bpf_set_retval", "5.18"),
        ("bpf_skc_to_tcp_sock", "5.9"),
        ("sk_lookup", "5.9"),
        ("SOCK_DESTROY", "4.9"),
    ]
    assert all(one["without"] for one in missing)
    shown = subprocess.run(
        [sys.executable, "-m", "agent", "status", "--state", state], capture_output=True, text=True, check=False
    )
    assert shown.returncode == 0
    assert "without bpf_set_retval, bpf_skc_to_tcp_sock, sk_lookup, SOCK_DESTROY" in shown.stdout
    metrics = subprocess.run(
        ["nsenter", f"--net=/run/netns/{node.name}", sys.executable, "-c", FETCH],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert 'weft_kernel_feature{feature="sk_lookup"} 0.0' in metrics
    assert 'weft_kernel_feature{feature="kernel BTF"} 1.0' in metrics
