"""What `vm-tests/provision.sh kind`, `make kind-up` and `make kind-down` do, as calls of docker, kind and kubectl.

No kind runs here: it takes a registry for its node's image.
"""

import sys

import cluster
import pytest
from recorded import Recorded, check_golden


def test_provisioning_makes_a_cluster_with_weft(recorded: Recorded) -> None:
    done = recorded.run("vm-tests/provision.sh", "kind")
    assert done.returncode == 0, done.stderr
    check_golden("provision.txt", recorded.calls())


def test_down_deletes_the_cluster(recorded: Recorded) -> None:
    done = recorded.run("make", "kind-down")
    assert done.returncode == 0, done.stderr
    check_golden("down.txt", recorded.calls())


@pytest.mark.parametrize("target", ["kind-up", "kind-test", "kind-down"])
def test_without_a_daemon_nothing_is_done(recorded: Recorded, target: str) -> None:
    (recorded.folder / "no-daemon").touch()
    done = recorded.run("make", target)
    assert done.returncode != 0
    sentence = "kind: needs Docker, whose daemon does not answer: Cannot connect to the Docker daemon at"
    assert [line for line in done.stderr.splitlines() if not line.startswith("make")] == [
        f"{sentence} unix:///var/run/docker.sock."
    ]
    assert recorded.calls() == "docker info\n"


@pytest.mark.parametrize("command", ["check", "up", "down"])
def test_without_docker_nothing_is_done(recorded: Recorded, command: str) -> None:
    environment = recorded.environment | {"PATH": str(recorded.folder), "WEFT_CLUSTER_PROVIDER": "kind"}
    done = recorded.run("env", "-i", *_pairs(environment), sys.executable, cluster.__file__, command)
    assert done.returncode == 1
    assert done.stderr == "kind: needs Docker, which is not installed (Debian: docker.io and apparmor)\n"
    assert recorded.calls() == ""


def _pairs(environment: dict[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in environment.items()]
