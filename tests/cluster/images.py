"""Container images without a registry: docker archives of one layer, made of what was built here."""

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import builds
from certificates import Authority

PAUSE = "weft.dev/cluster/pause:local"
COREDNS = "weft.dev/cluster/coredns:local"
# The names in the manifests of the conformance suite: a change of the suite's version may change them.
ECHO = "registry.k8s.io/gateway-api/conformance/echo-advanced:v0.1.0"
ECHO_OF_1_6 = "registry.k8s.io/gateway-api/echo-advanced:v1.5.1"

_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def make_all(folder: Path) -> list[Path]:
    """Archives of all images that the cluster and the conformance suite need."""
    folder.mkdir()
    return [_pause(folder / "pause.tar"), _coredns(folder / "coredns.tar"), _echo(folder / "echo.tar")]


def make_for_pods(folder: Path) -> list[Path]:
    """Archives of those that tests' pods use."""
    folder.mkdir()
    return [_pause(folder / "pause.tar"), _echo(folder / "echo.tar")]


def make(
    target: Path, name: str | Sequence[str], files: Mapping[str, bytes], entrypoint: Sequence[str], user: str = ""
) -> Path:
    """An archive of an image with these files, all executable by everybody, by their path."""
    layer = _layer(files)
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Env": [_PATH], "Entrypoint": list(entrypoint), "User": user},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = [
        {"Config": "config.json", "RepoTags": [name] if isinstance(name, str) else list(name), "Layers": ["layer.tar"]}
    ]
    with tarfile.open(target, "w") as archive:
        _add(archive, "config.json", _json(config))
        _add(archive, "layer.tar", layer)
        _add(archive, "manifest.json", _json(manifest))
    return target


def _pause(target: Path) -> Path:
    program = builds.program(builds.PAUSE, "pause").read_bytes()
    return make(target, PAUSE, {"pause": program}, ["/pause"])


def _coredns(target: Path) -> Path:
    program = builds.program(builds.COREDNS, "coredns").read_bytes()
    return make(target, COREDNS, {"coredns": program}, ["/coredns"])


def _echo(target: Path) -> Path:
    """As Istio's Dockerfile.app has it: the server runs, the suite executes `client` in its pod."""
    credential = Authority("echo").issue("echo", addresses=("echo",))
    files = {
        "usr/local/bin/server": builds.program(builds.ECHO, "server").read_bytes(),
        "usr/local/bin/client": builds.program(builds.ECHO, "client").read_bytes(),
        "cert.crt": credential.certificate,
        "cert.key": credential.key,
    }
    return make(target, (ECHO, ECHO_OF_1_6), files, ["/usr/local/bin/server"], user="1338")


def _layer(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as layer:
        for path, content in sorted(files.items()):
            _add(layer, path, content)
    return buffer.getvalue()


def _add(archive: tarfile.TarFile, path: str, content: bytes) -> None:
    entry = tarfile.TarInfo(path)
    entry.size = len(content)
    entry.mode = 0o755
    archive.addfile(entry, io.BytesIO(content))


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()
