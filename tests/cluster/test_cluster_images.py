"""What is in weft's images, and that it starts: the commands of the pods run in the images' root file systems.

No cluster is needed: a root file system is entered by chroot(2), in a mount namespace of its own.
"""

import json
import re
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest
import weft_image
import yaml
from weft_processes import CGROUP2, until

from agent.cli.main import COMMANDS

pytestmark = pytest.mark.cluster

BASE = weft_image.ROOT / "daemonset/base"
# In MiB. The compiler takes three quarters of the agent's, Envoy nine tenths of the waypoint's.
BUDGETS = {"agent": 315, "waypoint": 130}
# Patterns of files that one image has and the other has not.
OWN = {
    "agent": [
        "usr/lib/*/libbcc.so.0",
        "usr/lib/llvm-*/lib/libclang-cpp*",
        "usr/lib/*/libLLVM*",
        "usr/bin/sh",
        "opt/weft/lib/*/site-packages/grpc",
        "opt/weft/lib/*/site-packages/cryptography",
        "opt/weft/lib/*/site-packages/kubernetes",
    ],
    "waypoint": ["opt/weft/lib/*/site-packages/envoy/_bin/envoy"],
}
# The commands that need Envoy or the lab's tools.
LEFT_OUT = {"waypoint", "drain", "lab"}
IMPORT_ALL = """
import importlib, pkgutil, agent
for found in pkgutil.walk_packages(agent.__path__, "agent."):
    found.name.endswith("__main__") or importlib.import_module(found.name)
"""
ENTER = """
set -e; cd "$0"; mkdir -p dev proc sys run/weft/bpf
mount --rbind /dev dev; mount --bind /proc proc; mount --rbind /sys sys; mount -t bpf bpf run/weft/bpf
exec chroot . "$@"
"""
STATE = Path("run/weft")
PYTHON, WEFT = "/opt/weft/bin/python", "/opt/weft/bin/weft"
POD = (PYTHON, "-BIm", "agent.cli.pod")


@pytest.fixture(scope="module", params=list(weft_image.NAMES))
def stage(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The root file systems of the images."""
    return {stage: unpacked(stage, tmp_path_factory.mktemp(stage)) for stage in weft_image.NAMES}


def unpacked(stage: str, root: Path) -> Path:
    with tarfile.open(weft_image.archive(stage)) as archive:
        (manifest,) = json.load(member(archive, "manifest.json"))
        for name in manifest["Layers"]:
            subprocess.run(["tar", "-xC", root], input=member(archive, name).read(), check=True)
    return root


def member(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    found = archive.extractfile(name)
    assert found is not None
    return found


def entered(root: Path, *command: str) -> list[str]:
    return ["unshare", "--mount", "sh", "-c", ENTER, str(root), *command]


def run(root: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(entered(root, *command), capture_output=True, text=True, check=False)


def size(root: Path) -> float:
    """What the files take, in MiB."""
    return sum(path.lstat().st_size for path in root.rglob("*") if path.is_symlink() or path.is_file()) / 2**20


def containers(stage: str) -> Iterator[dict[str, object]]:
    """The containers of the manifests that have the image."""
    for file in ("agent.yaml", "controller.yaml", "waypoint.yaml"):
        for item in yaml.safe_load_all((BASE / file).read_text()):
            spec = item["spec"].get("template", {}).get("spec", {})
            for container in (*spec.get("containers", ()), *spec.get("initContainers", ())):
                if container["image"] == weft_image.NAMES[stage]:
                    yield container


def test_an_image_has_its_own_files_and_not_the_other_s(stage: str, roots: dict[str, Path]) -> None:
    for owner, patterns in OWN.items():
        found = [pattern for pattern in patterns if any(roots[stage].glob(pattern))]
        assert found == (patterns if owner == stage else [])


def test_an_image_is_within_its_budget(stage: str, roots: dict[str, Path]) -> None:
    found = size(roots[stage])
    print(f"{stage}: {found:.1f} MiB")
    assert found <= BUDGETS[stage]


def test_an_image_names_its_packages_and_has_their_licences(stage: str, roots: dict[str, Path]) -> None:
    packages = [line.split()[0] for line in (roots[stage] / "opt/weft-debian-packages").read_text().splitlines()]
    assert {"libc6:amd64", "python3.11-minimal"} <= set(packages)
    for package in packages:
        assert (roots[stage] / "usr/share/doc" / package.partition(":")[0] / "copyright").stat().st_size


def test_the_programs_of_the_pods_start(stage: str, roots: dict[str, Path]) -> None:
    found = list(containers(stage))
    assert len(found) == {"agent": 3, "waypoint": 1}[stage]
    for program in {word for container in found for word in words(container) if word.startswith("/opt/weft/bin/")}:
        assert run(roots[stage], program, "--version").returncode == 0


def test_each_image_has_its_versions(roots: dict[str, Path]) -> None:
    assert run(roots["agent"], WEFT, "--version").stdout.startswith("weft ")
    (envoy,) = roots["waypoint"].glob(OWN["waypoint"][0])
    assert "version" in run(roots["waypoint"], f"/{envoy.relative_to(roots['waypoint'])}", "--version").stdout


def words(value: object) -> Iterator[str]:
    """All texts in a manifest."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for below in value.values() if isinstance(value, dict) else value:
            yield from words(below)


def test_the_manifest_that_uninstalls_runs_in_the_agent_s_image(roots: dict[str, Path]) -> None:
    done = run(roots["agent"], "/bin/sh", "-c", "! [ -e /host/run/weft ] && exec sleep 0")
    assert (done.returncode, done.stderr) == (0, "")


def test_the_agent_s_image_has_all_other_commands(roots: dict[str, Path]) -> None:
    done = run(roots["agent"], WEFT, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    found = {name for name in COMMANDS if re.search(rf"^\W*{name}  ", done.stdout, re.MULTILINE)}
    assert found == set(COMMANDS) - LEFT_OUT


def test_all_modules_are_imported_in_the_agent_s_image(roots: dict[str, Path]) -> None:
    done = run(roots["agent"], PYTHON, "-BIc", IMPORT_ALL)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_agent_s_image_compiles_and_loads_the_programs(roots: dict[str, Path]) -> None:
    """The pins end with the mount namespace."""
    cgroup = CGROUP2 if CGROUP2.exists() else CGROUP2.parent
    load = (PYTHON, "-BIm", "agent.kernel.loader", "--pins=/run/weft/bpf", f"--cgroup={cgroup}")
    done = run(roots["agent"], *load)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["version"]


@pytest.mark.parametrize("option", ["--address=nowhere", "--concurrency=0", "--nowhere"])
def test_a_waypoint_s_wrong_option_is_explained(option: str, roots: dict[str, Path]) -> None:
    done = run(roots["waypoint"], *POD, "waypoint", option)
    assert done.returncode == 2
    assert option.partition("=")[0] in done.stderr


@contextmanager
def envoy(root: Path, node_id: str) -> Iterator[None]:
    """A waypoint without an agent, whose admin interface answers."""
    with subprocess.Popen(entered(root, *POD, "waypoint", f"--id={node_id}", "--address=127.0.0.1")) as process:
        try:
            until("Envoy answers", lambda: probe(root, node_id, "PRE_INITIALIZING", "INITIALIZING").returncode == 0)
            yield
        finally:
            process.terminate()


def probe(root: Path, node_id: str, *states: str) -> subprocess.CompletedProcess[str]:
    socket = f"/{STATE}/waypoint/{node_id}-admin.sock"
    return run(root, PYTHON, "-BIm", "agent.probe", socket, "/ready", *states)


def test_a_waypoint_starts_and_is_drained(roots: dict[str, Path]) -> None:
    root = roots["waypoint"]
    drain = (*POD, "drain", "--id=old", "--seconds=25")
    with envoy(root, "old"):
        assert probe(root, "old").returncode == 1
        assert run(root, *drain).stdout == "no other waypoint takes over\n"
        with envoy(root, "new"):
            (root / STATE / "waypoint/old-retired").write_text("1.0")
            assert run(root, *drain).stdout == "connections: 0\ndrained\n"
