"""The manifest files of a folder. What was said to have changed is looked at again, or everything."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from agent.internal_errors import InternalErrors
from agent.kube.manifest_file import ManifestFile, read_file

SUFFIXES = (".yaml", ".yml", ".json")
# Names of files and folders are relative to the folder of manifests, which itself is the empty name.
EVERYTHING = [""]


class FileChange(NamedTuple):
    """A file before and after; None where it is absent."""

    before: ManifestFile | None
    after: ManifestFile | None


class ManifestFolder:
    """The manifest files of a folder and of the folders in it, as they were when they were last looked at."""

    def __init__(self, folder: Path, errors: InternalErrors) -> None:
        """No file is read yet."""
        self.folder = folder
        self.files: dict[str, ManifestFile] = {}
        self._errors = errors
        self._folders: set[str] = set()
        self._links: set[str] = set()

    def look(self, names: Iterable[str]) -> dict[str, FileChange]:
        """Look at files and folders again, at a folder with all that is in it. Returns the files that changed, in
        order.

        Symbolic links are looked at too: a change of what one leads to has another name.
        """
        before: dict[str, ManifestFile | None] = {}
        named = {self._known(name) for name in names if not _hidden(name)}
        wanted = named | self._links
        # A folder that is looked at may be a link now, which is not followed: what was named below it is not looked at.
        tops = {name for name in wanted if wanted.isdisjoint(_above(name))}
        for file in {file for name in tops for file in self._find(name, before)}:
            # A file that is named is read whatever its stamp: the clock of stamps ticks every few milliseconds.
            self._read(file, before, stamp_counts=file not in named)
        return {file: FileChange(before[file], self.files.get(file)) for file in sorted(before, key=path_order)}

    def _known(self, name: str) -> str:
        """The name, or that of the first folder above it that was not there at the last look."""
        for above in _above(name):
            if above in self._folders:
                break
            name = above
        return name

    def _find(self, name: str, before: dict[str, ManifestFile | None]) -> set[str]:
        """The manifest files at or below a name. Those that are gone are put into `before`."""
        known = {name} & self.files.keys()
        if name in self._folders:
            known = {file for file in self.files if _is_below(file, name)}
            self._folders = {folder for folder in self._folders if not _is_below(folder, name)}
        path = self.folder / name
        if not name or (path.is_dir() and not path.is_symlink()):
            folders = dict(_walk(self.folder, name))
            self._folders |= folders.keys()
            found = {file for files in folders.values() for file in files}
        else:
            is_file = _is_manifest(path.name) and os.path.lexists(path) and not path.is_dir()
            found = {name} if is_file else set()
        for file in known - found:
            before.setdefault(file, self.files.pop(file))
            self._links.discard(file)
        return found

    def _read(self, name: str, before: dict[str, ManifestFile | None], *, stamp_counts: bool) -> None:
        old = self.files.get(name)
        new = read_file(self.folder / name, old, self._errors, stamp_counts=stamp_counts)
        if new is not old:
            before.setdefault(name, old)
            self.files[name] = new
            (self._links.add if new.is_link else self._links.discard)(name)


def path_order(name: str) -> list[str]:
    """The order of paths: a folder's files are together."""
    return name.split("/")


def manifests(folder: Path) -> list[Path]:
    """The manifest files of a folder and of the folders in it, in order. Hidden files, which editors make, are left
    out.
    """
    found = [name for _, names in _walk(folder, "") for name in names]
    return [folder / name for name in sorted(found, key=path_order)]


def _walk(top: Path, name: str) -> Iterator[tuple[str, list[str]]]:
    """Each folder at or below the folder `name`, and the manifest files in it.

    What is removed during the walk is left out; the watch reports its removal.
    """
    for path, folders, files in os.walk(top / name):
        folders[:] = [folder for folder in folders if not folder.startswith(".")]
        folder = "" if path == str(top) else os.path.relpath(path, top)
        yield folder, [os.path.join(folder, file) for file in files if _is_manifest(file)]


def _is_manifest(file: str) -> bool:
    return file.endswith(SUFFIXES) and not file.startswith(".")


def _hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))


def _above(name: str) -> Iterator[str]:
    """The folders above a file or folder, the nearest first."""
    while name:
        name = os.path.dirname(name)
        yield name


def _is_below(name: str, folder: str) -> bool:
    return folder in ("", name) or name.startswith(f"{folder}/")
