"""Programs built here from their Go modules, one module of ours for each, so that their dependencies stay apart.

A version is said once: in go/TOOL/go.mod. Each program has a folder of the cache to itself, so that a target builds
only what it needs (prepare.py). Of a cold build of everything kube-apiserver takes a third.
"""

import hashlib
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cache
import packages
import progress

SOURCES = Path(__file__).parent / "go"


@dataclass(frozen=True, slots=True)
class Tool:
    """A folder of go/: the module with its version (none: our own source), and the package of each program."""

    name: str
    module: str
    packages: Mapping[str, str]
    stamps: tuple[str, ...] = ()  # variables that take the version at link time
    go: str = packages.GO_VERSION

    @property
    def version(self) -> str:
        """As go.mod requires it; of our own source, a hash."""
        if not self.module:
            sources = sorted((SOURCES / self.name).glob("*.go"))
            return hashlib.sha256(b"".join(file.read_bytes() for file in sources)).hexdigest()[:12]
        requirement = rf"^(?:require )?\s*{re.escape(self.module)} (v\S+)"
        found = re.search(requirement, (SOURCES / self.name / "go.mod").read_text(), re.MULTILINE)
        if not found:
            raise ValueError(f"go/{self.name}/go.mod does not require {self.module}")
        return found[1]


_COMMANDS = ("kube-apiserver", "kubectl", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy")
_ECHO = "istio.io/istio/pkg/test/echo/cmd"
KUBERNETES = Tool(
    name="kubernetes",
    module="k8s.io/kubernetes",
    packages={command: f"k8s.io/kubernetes/cmd/{command}" for command in _COMMANDS},
    stamps=("k8s.io/component-base/version.gitVersion", "k8s.io/client-go/pkg/version.gitVersion"),
)
COREDNS = Tool("coredns", "github.com/coredns/coredns", {"coredns": "github.com/coredns/coredns"})
ECHO = Tool("echo", "istio.io/istio", {name: f"{_ECHO}/{name}" for name in ("server", "client")})
# What makes and serves traffic in the lab's tests.
LOAD = Tool("load", "", {"load": "."})
PAUSE = Tool("pause", "", {"pause": "."})
H2SPEC = Tool("h2spec", "github.com/summerwind/h2spec", {"h2spec": "github.com/summerwind/h2spec/cmd/h2spec"})
_SUITE = "sigs.k8s.io/gateway-api/conformance"
# The Gateway API's suite and definitions by minor version, newest first: the releases that upstream maintains.
CONFORMANCE = {
    "1.7": Tool("conformance-1.7", _SUITE, {"conformance.test": _SUITE}, go=packages.NEWER_GO_VERSION),
    "1.6": Tool("conformance-1.6", _SUITE, {"conformance.test": _SUITE}),
}
NEWEST = next(iter(CONFORMANCE))
KIND = Tool("kind", "sigs.k8s.io/kind", {"kind": "sigs.k8s.io/kind"})
HELM = Tool("helm", "helm.sh/helm/v4", {"helm": "helm.sh/helm/v4/cmd/helm"})
MULTICLUSTER = Tool("multicluster", "sigs.k8s.io/mcs-api", {})


def program(tool: Tool, name: str) -> Path:
    """A program of a tool, built when the cache does not have it. Raises `CalledProcessError`."""
    return cache.kept(program_folder(tool, name), lambda folder: _build(tool, name, folder)) / name


def built(tool: Tool, name: str) -> Path:
    """A program that is in the cache. Raises `LookupError` with the command that builds it."""
    return cache.found(program_folder(tool, name)) / name


def conformance(version: str = NEWEST) -> Path:
    """The conformance suite of a minor version, as one program."""
    return program(CONFORMANCE[version], "conformance.test")


def gateway_api(version: str = NEWEST) -> Path:
    """The Gateway API's custom resource definitions of a minor version: folders `standard` and `experimental`."""
    return cache.kept(gateway_api_folder(version), lambda folder: _copy_gateway_api(CONFORMANCE[version], folder))


def gateway_api_folder(version: str = NEWEST) -> str:
    """What the cache calls it."""
    return f"gateway-api-crds-{CONFORMANCE[version].version}"


def multicluster_api() -> Path:
    """The folder with the Multi-Cluster Services API's custom resource definitions."""
    return cache.kept(multicluster_folder(), _copy_multicluster_api)


def multicluster_folder() -> str:
    """What the cache calls it."""
    return f"multicluster-crds-{MULTICLUSTER.version}"


def program_folder(tool: Tool, name: str) -> str:
    """What the cache calls a program's."""
    return f"{tool.name}-{tool.version}-{name}"


def _build(tool: Tool, name: str, folder: Path) -> None:
    stamps = " ".join(f"-X {variable}={tool.version}" for variable in tool.stamps)
    # Without `go vet`, which would check every package that the suite imports.
    command = ["test", "-c", "-vet=off"] if name.endswith(".test") else ["build"]
    options = ["-trimpath", "-ldflags", f"-s -w {stamps}", "-o", str(folder / name)]
    with progress.step(f"build {name} {tool.version}"):
        _run_go(tool, [*command, *options, tool.packages[name]])


def _copy_gateway_api(tool: Tool, folder: Path) -> None:
    for channel in ("standard", "experimental"):
        shutil.copytree(_module(tool, "sigs.k8s.io/gateway-api") / "config/crd" / channel, folder / channel)


def _copy_multicluster_api(folder: Path) -> None:
    shutil.copytree(_module(MULTICLUSTER, MULTICLUSTER.module) / "config/crd", folder, dirs_exist_ok=True)


def _module(tool: Tool, module: str) -> Path:
    """The files of a module that a tool requires."""
    # `go list` needs them to be there.
    _run_go(tool, ["mod", "download", module])
    return Path(_run_go(tool, ["list", "-m", "-f", "{{.Dir}}", module]).strip())


def _run_go(tool: Tool, arguments: list[str]) -> str:
    environment = os.environ | {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly"}
    command = ["nice", "-n", "15", packages.go(tool.go), *arguments]
    return progress.output(command, cwd=SOURCES / tool.name, env=environment)
