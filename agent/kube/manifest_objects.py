"""The objects of a folder of manifests, and which of two files with the same object is used."""

from collections import Counter
from collections.abc import Iterable, Mapping

from agent.kube.manifest_file import ManifestFile
from agent.kube.manifest_folder import ManifestFolder, path_order
from agent.model.change import Keyed, Problem
from agent.model.meta import Key

_NO_FILE = ManifestFile()


class ManifestObjects:
    """The objects of the files of a folder. If two files have the same object, the first by path is used, and the other
    is a problem.
    """

    def __init__(self, folder: ManifestFolder) -> None:
        """Without objects until the first `look`."""
        self._folder = folder
        self._names: dict[Key, set[str]] = {}
        self._in_files: dict[str, dict[str, Problem]] = {}
        self._in_two_files: dict[Key, dict[str, Problem]] = {}

    @property
    def problems(self) -> dict[str, Problem]:
        """The current problems, by place."""
        parts = [*self._in_files.values(), *self._in_two_files.values()]
        return {where: problem for part in parts for where, problem in part.items()}

    @property
    def ignored(self) -> Mapping[str, int]:
        """The number of documents of each kind that weft does not use, by `apps/v1 Deployment`."""
        counts: Counter[str] = Counter()
        # A copy: another thread may be in `look`.
        for file in list(self._folder.files.values()):
            counts.update(file.ignored)
        return dict(sorted(counts.items()))

    def location(self, key: Key) -> str:
        """The file and line of an object; empty if it is in no file."""
        names = self._names.get(key)
        if not names:
            return ""
        name = min(names, key=path_order)
        return f"{self._folder.folder / name}:{self._folder.files[name].lines[key]}"

    def look(self, names: Iterable[str]) -> tuple[dict[Key, Keyed | None], set[str]]:
        """Look at files and folders again, as `ManifestFolder.look`.

        Returns the objects that may have changed, None for one that is in no file any more, and the kinds that are not
        used in the files that changed.
        """
        keys: dict[Key, None] = {}
        ignored: set[str] = set()
        for name, change in self._folder.look(names).items():
            before, after = change.before or _NO_FILE, change.after or _NO_FILE
            for key in before.objects.keys() - after.objects.keys():
                self._names[key].discard(name)
            for key in after.objects:
                self._names.setdefault(key, set()).add(name)
            keys |= dict.fromkeys([*before.objects, *after.objects])
            ignored |= after.ignored.keys()
            self._in_files.pop(name, None)
            if after.problems:
                self._in_files[name] = after.problems
        return {key: self._used(key) for key in keys}, ignored

    def _used(self, key: Key) -> Keyed | None:
        """The object, from the first of its files; the others become problems."""
        self._in_two_files.pop(key, None)
        if not self._names[key]:
            del self._names[key]
            return None
        first, *others = sorted(self._names[key], key=path_order)
        folder = self._folder.folder
        locations = [f"{folder / name} {key}" for name in others]
        if locations:
            message = f"is in {folder / first} too, which is used"
            self._in_two_files[key] = {where: Problem(where, str(key), "$", message) for where in locations}
        return self._folder.files[first].objects[key]
