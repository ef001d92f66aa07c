"""The embedded default source: a directory of manifests, watched."""

import asyncio
import logging
import os
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from watchfiles import awatch

from agent.internal_errors import InternalErrors
from agent.kube.decode import Unread, decode_all
from agent.kube.documents import split
from agent.model.change import Change, Delete, Problem, Resolved, Synced, Upsert, internal_error
from agent.model.meta import Key, Object
from agent.model.weft_node import WeftNode

log = logging.getLogger(__name__)

SUFFIXES = (".yaml", ".yml", ".json")
UNREAD = (0, 0, 0)
DEBOUNCE_MS = 50
STEP_MS = 10
# Finds what a watch cannot tell: a change before it began, and a directory that was replaced by another.
RESCAN_MS = 1000


class SourceError(Exception):
    """The source cannot be used at all, in one sentence."""


@dataclass(frozen=True, slots=True)
class _File:
    """What one file gave: its good objects, those kept because a document of it is broken, and its problems.

    `lines` says at which line an object's document begins, `unread` how many documents are of kinds that are not read.
    """

    stamp: tuple[int, int, int]
    objects: dict[Key, Object] = field(default_factory=dict)
    problems: dict[str, Problem] = field(default_factory=dict)
    lines: dict[Key, int] = field(default_factory=dict)
    unread: Counter[str] = field(default_factory=Counter)


class DirectorySource:
    """Manifests of a directory as changes.

    While a file has a broken document, objects that it gave before and that none of its good documents gives now stay
    in force. Of two files with the same object the first by path gives it; the other is a problem.
    """

    name = "manifests"

    def __init__(self, directory: Path, errors: InternalErrors | None = None, node_file: Path | None = None) -> None:
        """Without `errors` internal errors are raised. `node_file` stores the WeftNode; by default it is not stored."""
        self._directory = directory
        self._node_file = node_file
        self._errors = errors or InternalErrors()
        self._files: dict[Path, _File] = {}
        self._said: dict[Key, Object] = {}
        self._problems: dict[str, Problem] = {}
        self._logged: set[str] = set()

    @property
    def unread(self) -> Mapping[str, int]:
        """How many documents there are of each kind that weft does not read, by `apps/v1 Deployment`."""
        return dict(sorted(sum((file.unread for file in self._files.values()), Counter[str]()).items()))

    @property
    def stale(self) -> str:
        """Why what is known may be old. A directory that is gone is a problem, told as such."""
        return ""

    def report(self) -> dict[str, Any]:
        """What `weft status` shows of the source."""
        return {"kind": self.name, "directory": str(self._directory), "stale": self.stale, "unread": self.unread}

    async def changes(self) -> AsyncIterator[list[Change]]:
        """Everything that there is, then `Synced`, then what changes. Raises `SourceError` when it cannot be read."""
        if not self._directory.is_dir():
            raise SourceError(f"--manifests: {self._directory} is not a directory")
        watch = awatch(
            self._directory,
            debounce=DEBOUNCE_MS,
            step=STEP_MS,
            rust_timeout=RESCAN_MS,
            yield_on_timeout=True,
            ignore_permission_denied=True,
        )
        yield [*await asyncio.to_thread(self.read), Synced(self.name)]
        async for _ in watch:
            batch = await asyncio.to_thread(self.read)
            if batch:
                yield batch

    async def store(self, node: WeftNode) -> None:
        """Replace the file of the WeftNode, whole or not at all. Raises `OSError`."""
        if self._node_file is not None:
            draft = self._node_file.with_name(f".{self._node_file.name}.new")
            draft.write_bytes(msgspec.json.format(msgspec.json.encode(node.document()), indent=1))
            draft.replace(self._node_file)

    def read(self) -> list[Change]:
        """Read the directory and say what differs from what was said before.

        All files are looked at, those that have not changed since are not parsed again.
        """
        vanished = not self._directory.is_dir()
        if vanished:
            where = str(self._directory)
            return self._say(self._said, {where: Problem(where, "directory", "$", "is gone; its last state stays")})
        self._files = {path: _read(path, self._files.get(path), self._errors) for path in _manifests(self._directory)}
        objects: dict[Key, Object] = {}
        owner: dict[Key, Path] = {}
        problems: dict[str, Problem] = {}
        for path, file in self._files.items():
            problems |= file.problems
            for key, value in file.objects.items():
                if key in owner:
                    where = f"{path} {key}"
                    problems[where] = Problem(where, str(key), "$", f"is in {owner[key]} too, which is used")
                    continue
                owner[key] = path
                objects[key] = value
        self._log_unread()
        self._errors.keep("decode", problems)
        return self._say(objects, problems)

    def _log_unread(self) -> None:
        """Name each kind that is not read, once."""
        for kind, count in self.unread.items():
            if kind not in self._logged:
                self._logged.add(kind)
                log.info("kind is not read", extra={"kind": kind, "documents": count})

    def place(self, key: Key) -> str:
        """The file and line that an object came from, empty when it came from none."""
        places = (f"{path}:{file.lines[key]}" for path, file in self._files.items() if key in file.objects)
        return next(places, "")

    def _say(self, objects: dict[Key, Object], problems: dict[str, Problem]) -> list[Change]:
        batch: list[Change] = [Delete(key) for key in self._said if key not in objects]
        batch += [Upsert(value) for key, value in objects.items() if self._said.get(key) != value]
        batch += [Resolved(where) for where in self._problems if where not in problems]
        batch += [problem for where, problem in problems.items() if self._problems.get(where) != problem]
        self._said, self._problems = objects, problems
        return batch


def parsed(directory: Path) -> Iterator[tuple[str, Any]]:
    """Every document that can be parsed of a directory, or of one file, with its place: the file and line."""
    for path in _manifests(directory) if directory.is_dir() else [directory]:
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        for document in split(text, path.suffix == ".json"):
            if not document.error:
                yield f"{path}:{document.line}", document.value


def _manifests(directory: Path) -> list[Path]:
    """Manifest files in order; hidden ones, which editors make, are left out.

    A folder that goes away while it is walked through has no files; that it went is told by the watch.
    """
    found: list[Path] = []
    for folder, folders, files in os.walk(directory):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += (Path(folder, name) for name in files if not name.startswith("."))
    return sorted(path for path in found if path.suffix in SUFFIXES)


def _read(path: Path, before: _File | None, errors: InternalErrors) -> _File:
    """One file's objects and problems; as before when the file is the same."""
    stamp = UNREAD
    try:
        found = path.stat()
        stamp = (found.st_ino, found.st_mtime_ns, found.st_size)
        if before and before.stamp == stamp:
            return before
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        problem = Problem(str(path), "file", "$", str(error))
        kept = before or _File(UNREAD)
        return _File(UNREAD, kept.objects, {problem.where: problem}, kept.lines, kept.unread)
    made = _parse(path, text, stamp, errors)
    if before is None or not made.problems:
        return made
    return _File(stamp, before.objects | made.objects, made.problems, before.lines | made.lines, made.unread)


def _parse(path: Path, text: str, stamp: tuple[int, int, int], errors: InternalErrors) -> _File:
    """The objects of a file's text, and the problems with its documents."""
    objects: dict[Key, Object] = {}
    problems: dict[str, Problem] = {}
    lines: dict[Key, int] = {}
    unread: Counter[str] = Counter()
    for document in split(text, path.suffix == ".json"):
        where = f"{path}:{document.line}"
        if document.error:
            problems[where] = Problem(where, f"document {document.number}", "$", document.error)
            continue
        read: Iterable[tuple[str, Object | Problem | Unread]]
        read = ((where, internal_error(where, f"document {document.number}")),)
        with errors.guard("decode", where):
            read = list(decode_all(document.value, where))
        for place, found in read:
            if isinstance(found, Problem):
                problems[place] = found
            elif isinstance(found, Unread):
                unread[found.kind] += 1
            elif found.key in objects:
                problems[place] = Problem(place, str(found.key), "$", "is in this file twice; the first is used")
            else:
                objects[found.key] = found
                lines[found.key] = document.line
    return _File(stamp, objects, problems, lines, unread)
