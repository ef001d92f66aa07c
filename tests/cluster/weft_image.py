"""weft's image, built from daemonset/Dockerfile without a registry: buildah on a Debian of mmdebstrap.

It is named by a hash of everything that it is made of, so that a cluster that has the name has the content. A cold
build takes two minutes, one after a change of the code alone a quarter of that.
"""

import hashlib
import os
import subprocess
from pathlib import Path

import cache
import packages

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "daemonset/Dockerfile"
NAME = "weft.dev/weft"
_LOCKS = ("daemonset/requirements.lock", "daemonset/build.lock", ".ci/install-lock")
SOURCES = ("daemonset/Dockerfile", *_LOCKS, "LICENSE", "LICENSES", "pyproject.toml", "agent", "bpf")
_BASE = "localhost/weft-base"
# Behind a proxy that signs for others the machine's authorities are not Debian's.
_AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"


def tag() -> str:
    """The hash of all files that the image is made of."""
    paths = [path for name in SOURCES for path in _files(ROOT / name)]
    digest = hashlib.sha256()
    for path in paths:
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(ROOT)} {content}\n".encode())
    return digest.hexdigest()[:12]


def archive() -> Path:
    """The image as a docker archive; built when the cache does not have it."""
    return cache.kept(f"weft-{tag()}", _build) / "weft.tar"


def _files(path: Path) -> list[Path]:
    """The file itself, or all below a folder but what Python leaves there."""
    if path.is_file():
        return [path]
    return sorted(
        file for file in path.rglob("*") if file.is_file() and file.suffix in (".py", ".c", ".h", ".md", ".txt")
    )


def _build(folder: Path) -> None:
    with cache.alone("buildah"):
        _make_base()
        options = ["--isolation=chroot", "--network=host", "--layers", f"--volume={_AUTHORITIES}:{_AUTHORITIES}:ro"]
        try:
            _buildah(
                "bud",
                "--quiet",
                *options,
                f"--build-arg=BASE={_BASE}@{_digest(_BASE)}",
                f"--file={DOCKERFILE}",
                f"--tag={NAME}:{tag()}",
                ROOT,
            )
        finally:
            # With layers, or when it fails, buildah 1.28 leaves containers behind, each with a mount.
            _buildah("rm", "--all")
        target = folder / "weft.tar"
        _buildah("push", "--quiet", f"{NAME}:{tag()}", f"docker-archive:{target}:{NAME}:{tag()}")
    print(f"image: {NAME}:{tag()}, {target.stat().st_size / 2**20:.0f} MiB", flush=True)


def _make_base() -> None:
    """Debian's smallest, as an image."""
    base = packages.debian_root()
    if not _buildah("images", "--quiet", "--filter", f"reference={_BASE}"):
        container = _buildah("from", "scratch")
        _buildah("add", "--quiet", container, base / "root.tar", "/")
        _buildah("commit", "--quiet", "--rm", container, _BASE)


def _digest(image: str) -> str:
    """By what an image is known whose content cannot change."""
    return _buildah("inspect", "--type=image", "--format={{.FromImageDigest}}", image)


def _buildah(*arguments: str | Path) -> str:
    """What buildah prints. Everything that it keeps is in the cache."""
    storage = [f"--root={cache.ROOT}/buildah/images", f"--runroot={cache.ROOT}/buildah/run", "--storage-driver=overlay"]
    command = ["nice", "-n", "15", packages.installed("buildah"), *storage, *arguments]
    environment = os.environ | {"BUILDAH_FORMAT": "docker"}
    return subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
