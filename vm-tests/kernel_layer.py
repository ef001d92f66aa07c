"""A kernel from Debian's package: what QEMU boots, and its modules as an image."""

import lzma
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import cache
import layers
import packages
import progress
from kernels import DeclarationError

INIT = Path(__file__).parent / "guest/init"
# For the layers' file systems and the disks that they are on; in this order, each with what it needs.
_MODULES = ("virtio_pci", "virtio_blk", "crc32c_generic", "erofs", "overlay")


@dataclass(frozen=True, slots=True)
class Files:
    """What there is of a kernel."""

    vmlinuz: Path
    initrd: Path
    modules: Path


def files(package: str) -> Files:
    """The newest kernel that a package is or depends on. Raises `DeclarationError`, `CalledProcessError`."""
    concrete = _concrete(package)
    recipe = layers.digest(INIT.read_text() + " ".join(_MODULES))
    folder = cache.kept(f"vm-{concrete}-{recipe}", lambda folder: _make(concrete, folder))
    return Files(folder / "vmlinuz", folder / "initrd", folder / "modules.erofs")


def _concrete(package: str) -> str:
    """The package with the kernel in it. linux-image-amd64 and the like are empty and depend on one."""
    if found := _dependency(package):
        return found
    progress.output(["apt-get", "update", "-qq"])
    if found := _dependency(package):
        return found
    raise DeclarationError(f"no package {package} with a kernel in this machine's apt sources")


def _dependency(package: str) -> str | None:
    shown = subprocess.run(["apt-cache", "depends", package], capture_output=True, text=True, check=False)
    return dependency(package, shown.stdout)


def dependency(package: str, shown: str) -> str | None:
    """The kernel's package, from what `apt-cache depends` prints of one; None where it knows none."""
    found = re.search(r"Depends: (linux-image-\S+)", shown)
    return found[1] if found else (package if shown else None)


def _make(package: str, folder: Path) -> None:
    busybox = packages.debian("busybox-static") / "bin/busybox"
    root, content = folder / "root", folder / "content"
    with progress.step(f"prepare {package}"):
        packages.unpack(package, root)
        (vmlinuz,) = (root / "boot").glob("vmlinuz-*")
        release = vmlinuz.name.removeprefix("vmlinuz-")
        shutil.copy(vmlinuz, folder / "vmlinuz")
        progress.output(["depmod", "--basedir", root, release])
        _fill_initrd(content, root, release, busybox)
        _pack(content, folder / "initrd")
        layers.make_image(root / "lib/modules", folder / "modules.erofs")
        shutil.rmtree(root)
        shutil.rmtree(content)


def _fill_initrd(top: Path, root: Path, release: str, busybox: Path) -> None:
    """busybox, the modules in their order, and `init`."""
    (top / "modules").mkdir(parents=True)
    for number, module in enumerate(_needed(root, release)):
        packed = module.read_bytes()
        raw = lzma.decompress(packed) if module.suffix == ".xz" else packed
        (top / f"modules/{number:02}-{module.name.removesuffix('.xz')}").write_bytes(raw)
    (top / "bin").mkdir()
    shutil.copy2(busybox, top / "bin/busybox")
    shutil.copy2(INIT, top / "init")


def _pack(top: Path, target: Path) -> None:
    """What is in a folder, as the kernel unpacks it."""
    names = "\n".join(str(path.relative_to(top)) for path in sorted(top.rglob("*")))
    pack = ["cpio", "--quiet", "--create", "--format=newc"]
    archive = subprocess.run(pack, input=names.encode(), cwd=top, capture_output=True, check=True)
    target.write_bytes(archive.stdout)


def _needed(root: Path, release: str) -> list[Path]:
    """Files of the modules, what they need before them; those that are built in are none."""
    found: dict[Path, None] = {}
    for module in _MODULES:
        show: list[str | Path] = ["modprobe", "--show-depends", "--dirname", root, "--set-version", release, module]
        for line in progress.output(show).splitlines():
            if line.startswith("insmod "):
                found[Path(line.split()[1])] = None
    return list(found)
