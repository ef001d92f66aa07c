"""File systems that machines read: erofs images, in the cache by what they are made of, but for the clone's own."""

import hashlib
import shutil
import sys
from pathlib import Path

import cache
import packages
import progress

REPOSITORY = Path(__file__).parents[1]
# What the agent and its tests run; python3-bpfcc brings LLVM.
_ROOT_PACKAGES = (
    *("python3", "python3-bpfcc", "bpftool", "iproute2", "nftables", "kmod", "procps", "tcc", "libc6-dev"),
    *("curl", "iputils-ping", "wireguard-tools", "ca-certificates"),
)
_ROOT_OPTIONS = (
    *("--quiet", "--variant=minbase", "--mode=root", "--format=directory"),
    *("--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/locale/*"),
    "--dpkgopt=path-exclude=/usr/share/man/*",
)
# Where the guest mounts layers: a mount point needs a folder.
MOUNT_POINTS = ("weft", "venv", "results", "usr/lib/modules")


def root() -> Path:
    """Debian, of the machine's release, with what weft needs."""
    recipe = " ".join((*_ROOT_PACKAGES, *_ROOT_OPTIONS, *MOUNT_POINTS))
    return cache.kept(f"vm-root-{packages.release()}-{digest(recipe)}", _make_root) / "root.erofs"


def _make_root(folder: Path) -> None:
    unpacked = folder / "root"
    packaged = f"--include={','.join(_ROOT_PACKAGES)}"
    with progress.step(f"make the machines' Debian {packages.release()}"):
        progress.output(["mmdebstrap", *_ROOT_OPTIONS, packaged, packages.release(), unpacked])
        for point in MOUNT_POINTS:
            (unpacked / point).mkdir(parents=True, exist_ok=True)
        make_image(unpacked, folder / "root.erofs")
        shutil.rmtree(unpacked)


def site() -> Path:
    """The clone's virtual environment, as set-up filled it from requirements.lock, for Debian's interpreter."""
    sources = (".ci/install-lock", "requirements.lock")
    recipe = "".join((*((REPOSITORY / name).read_text() for name in sources), sys.version))
    return cache.kept(f"vm-site-{digest(recipe)}", _make_site) / "site.erofs"


def _make_site(folder: Path) -> None:
    with progress.step("make the machines' virtual environment"):
        # weft itself is in it by the path of this clone.
        make_image(REPOSITORY / ".venv", folder / "site.erofs", "--exclude-regex=_editable_impl_weft")


def repository(image: Path) -> None:
    """The clone as it is now: what is committed and what is not, but for what git ignores. Compiled here, since every
    guest would otherwise compile it again.
    """
    folder = image.with_suffix("")
    shutil.rmtree(folder, ignore_errors=True)
    listed = progress.output(["git", "-C", REPOSITORY, "ls-files", "-z", "--cached", "--others", "--exclude-standard"])
    for name in listed.split("\0"):
        source, target = REPOSITORY / name, folder / name
        if name and source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    options = ["-q", "--invalidation-mode", "unchecked-hash", "-s", str(folder), "-p", "/weft"]
    progress.output(["/usr/bin/python3", "-m", "compileall", *options, folder])
    make_image(folder, image)
    shutil.rmtree(folder)


def make_image(folder: Path, image: Path, *options: str) -> None:
    """An erofs image of a folder. Raises `CalledProcessError`."""
    progress.output(["mkfs.erofs", "--quiet", *options, image, folder])


def digest(recipe: str) -> str:
    """A short name of a recipe."""
    return hashlib.sha256(recipe.encode()).hexdigest()[:12]
