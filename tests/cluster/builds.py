"""Programs built here from their Go modules, one module of ours for each, so that their dependencies stay apart.

A version is said once: in go/TOOL/go.mod. A cold build of everything takes a quarter of an hour on two idle cores, a
third of it for kube-apiserver; later calls find everything in the cache.
"""

import hashlib
import os
import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import cache
import packages

SOURCES = Path(__file__).parent / "go"


@dataclass(frozen=True, slots=True)
class Tool:
    """A folder of go/: the module that says its version (none: our own source), and what is built of it."""

    name: str
    module: str
    packages: tuple[str, ...]
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
KUBERNETES = Tool(
    name="kubernetes",
    module="k8s.io/kubernetes",
    packages=tuple(f"k8s.io/kubernetes/cmd/{command}" for command in _COMMANDS),
    stamps=("k8s.io/component-base/version.gitVersion", "k8s.io/client-go/pkg/version.gitVersion"),
)
COREDNS = Tool("coredns", "github.com/coredns/coredns", ("github.com/coredns/coredns",))
ECHO = Tool(
    name="echo",
    module="istio.io/istio",
    packages=("istio.io/istio/pkg/test/echo/cmd/server", "istio.io/istio/pkg/test/echo/cmd/client"),
)
# What makes and serves traffic in the lab's tests.
LOAD = Tool("load", "", (".",))
PAUSE = Tool("pause", "", (".",))
H2SPEC = Tool("h2spec", "github.com/summerwind/h2spec", ("github.com/summerwind/h2spec/cmd/h2spec",))
_SUITE = "sigs.k8s.io/gateway-api/conformance"
# The Gateway API's suite and definitions by minor version, newest first: the releases that upstream maintains.
CONFORMANCE = {
    "1.7": Tool("conformance-1.7", _SUITE, (_SUITE,), go=packages.NEWER_GO_VERSION),
    "1.6": Tool("conformance-1.6", _SUITE, (_SUITE,)),
}
NEWEST = next(iter(CONFORMANCE))
HELM = Tool("helm", "helm.sh/helm/v4", ("helm.sh/helm/v4/cmd/helm",))
MULTICLUSTER = Tool("multicluster", "sigs.k8s.io/mcs-api", ())

CLUSTER_TOOLS = (KUBERNETES, COREDNS, ECHO, PAUSE, HELM)


def built(tool: Tool) -> Path:
    """The folder with the tool's programs."""
    return cache.kept(f"{tool.name}-{tool.version}", lambda folder: _build_all(tool, folder))


def conformance(version: str = NEWEST) -> Path:
    """The folder with the conformance suite of a minor version as one program, `conformance.test`."""
    tool = CONFORMANCE[version]
    return cache.kept(f"conformance-{tool.version}", lambda folder: _build_conformance(tool, folder))


def gateway_api(version: str = NEWEST) -> Path:
    """The Gateway API's custom resource definitions of a minor version: folders `standard` and `experimental`."""
    tool = CONFORMANCE[version]
    return cache.kept(f"gateway-api-crds-{tool.version}", lambda folder: _copy_gateway_api(tool, folder))


def multicluster_api() -> Path:
    """The folder with the Multi-Cluster Services API's custom resource definitions."""
    return cache.kept(f"multicluster-crds-{MULTICLUSTER.version}", _copy_multicluster_api)


def _build_all(tool: Tool, folder: Path) -> None:
    stamps = " ".join(f"-X {variable}={tool.version}" for variable in tool.stamps)
    for package in tool.packages:
        build = ["build", "-trimpath", "-ldflags", f"-s -w {stamps}", "-o", f"{folder}/", package]
        _tell(f"{tool.name} {tool.version}, {package}", tool, build)


def _build_conformance(tool: Tool, folder: Path) -> None:
    program = folder / "conformance.test"
    build = ["test", "-c", "-trimpath", "-ldflags", "-s -w", "-o", str(program), tool.module]
    _tell(f"conformance suite {tool.version}", tool, build)


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


def _tell(what: str, tool: Tool, arguments: list[str]) -> None:
    begin = time.monotonic()
    print(f"build: {what} …", flush=True)
    _run_go(tool, arguments)
    print(f"build: {what}: {time.monotonic() - begin:.0f} s", flush=True)


def _run_go(tool: Tool, arguments: list[str]) -> str:
    environment = os.environ | {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly"}
    command = ["nice", "-n", "15", packages.go(tool.go), *arguments]
    return subprocess.run(
        command, cwd=SOURCES / tool.name, env=environment, stdout=subprocess.PIPE, text=True, check=True
    ).stdout
