"""weft's images, built from daemonset/Dockerfile without a registry: buildah on a Debian of mmdebstrap.

Their tag is a hash of everything that they are made of, so that a cluster that has the name has the content. A cold
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
# By the stages of the Dockerfile.
NAMES = {"agent": NAME, "waypoint": f"{NAME}-waypoint"}
_LOCKS = ("daemonset/requirements.lock", "daemonset/build.lock", ".ci/install-lock")
SOURCES = (
    "daemonset/Dockerfile",
    "daemonset/image_files.py",
    *_LOCKS,
    "LICENSE",
    "LICENSES",
    "pyproject.toml",
    "agent",
    "bpf",
)
_BASE = "localhost/weft-base"
# Behind a proxy that signs for others the machine's authorities are not Debian's.
_AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"


def tag() -> str:
    """The hash of all files that the images are made of."""
    paths = [path for name in SOURCES for path in _files(ROOT / name)]
    digest = hashlib.sha256()
    for path in paths:
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(ROOT)} {content}\n".encode())
    return digest.hexdigest()[:12]


def archives() -> list[Path]:
    """The images as docker archives; built when the cache does not have them."""
    return [archive(stage) for stage in NAMES]


def archive(stage: str) -> Path:
    """The docker archive of one image."""
    return cache.kept(f"weft-{tag()}", _build) / f"{stage}.tar"


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
        # Once: sources may change while buildah works.
        images = {stage: f"{name}:{tag()}" for stage, name in NAMES.items()}
        try:
            for stage, image in images.items():
                _build_stage(stage, image, folder / f"{stage}.tar")
        finally:
            # With layers, or when it fails, buildah 1.28 leaves containers behind, each with a mount.
            _buildah("rm", "--all")


def _build_stage(stage: str, image: str, target: Path) -> None:
    options = ["--isolation=chroot", "--network=host", "--layers", f"--volume={_AUTHORITIES}:{_AUTHORITIES}:ro"]
    _buildah(
        "bud",
        "--quiet",
        *options,
        f"--build-arg=BASE={_BASE}@{_digest(_BASE)}",
        f"--file={DOCKERFILE}",
        f"--target={stage}",
        f"--tag={image}",
        ROOT,
    )
    _buildah("push", "--quiet", image, f"docker-archive:{target}:{image}")
    print(f"image: {image}, {target.stat().st_size / 2**20:.0f} MiB", flush=True)


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
