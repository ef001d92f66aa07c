"""The files of an image: `image_files.py FOLDER PATH...` copies paths of this Debian with what they need into a folder.

What a path needs: the file that a link points to, and the shared libraries of a program or a library. The folder also
gets the licences of the Debian packages that the files are from, and the list of these packages with their versions.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

# In a Debian with a merged /usr these are links, and dpkg still lists files below them.
MERGED = ("bin", "lib", "lib64", "sbin")
PACKAGES = "opt/weft-debian-packages"
DPKG = Path("/var/lib/dpkg/info")


def main(target: Path, paths: list[Path]) -> None:
    """Fill the folder. Raises `OSError`, also for a path that does not exist, and `CalledProcessError`."""
    target.mkdir(parents=True)
    for name in MERGED:
        (target / name).symlink_to(f"usr/{name}")
    copied: set[Path] = set()
    waiting = [file for path in paths for file in _below(path)]
    while waiting:
        file = _unmerged(waiting.pop())
        if file not in copied:
            copied.add(file)
            waiting += _copy(file, target)
    packages = _packages(copied)
    for package in packages:
        licence = Path("usr/share/doc", package.partition(":")[0], "copyright")
        (target / licence).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile("/" / licence, target / licence)
    shown = subprocess.run(["dpkg-query", "--show", *packages], stdout=subprocess.PIPE, check=True).stdout
    (target / PACKAGES).parent.mkdir(exist_ok=True)
    (target / PACKAGES).write_bytes(shown)


def _below(path: Path) -> Iterator[Path]:
    """The path itself, or all files and links below a folder."""
    if path.is_symlink() or not path.is_dir():
        yield path
        return
    for below in path.iterdir():
        yield from _below(below)


def _unmerged(path: Path) -> Path:
    """The path with links resolved, but for the last name."""
    return path.parent.resolve() / path.name


def _copy(file: Path, target: Path) -> list[Path]:
    """Copy one file or link. Returns what it needs."""
    copy = target / file.relative_to("/")
    copy.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(file, copy, follow_symlinks=False)
    if file.is_symlink():
        return list(_below(file.parent / file.readlink()))
    with file.open("rb") as opened:
        return _libraries(file) if opened.read(4) == b"\x7fELF" else []


def _libraries(file: Path) -> list[Path]:
    """The shared libraries that the dynamic linker would load for a file. Raises `FileNotFoundError`."""
    done = subprocess.run(["ldd", file], capture_output=True, text=True, check=False)
    if "not found" in done.stdout:
        raise FileNotFoundError(f"{file}: {done.stdout}")
    return [Path(word) for line in done.stdout.splitlines() for word in line.split() if word.startswith("/")]


def _packages(files: set[Path]) -> list[str]:
    """The Debian packages that files are from, as dpkg names them."""
    names = {str(file) for file in files}
    names |= {name.removeprefix("/usr") for name in names}
    return sorted(
        listing.stem for listing in DPKG.glob("*.list") if not names.isdisjoint(listing.read_text().splitlines())
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(path).absolute() for path in sys.argv[2:]])
