"""A source that reads and watches a directory of manifests."""

import asyncio
import logging
import os
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from watchfiles import awatch

from agent.internal_errors import InternalErrors
from agent.kube.account_pods import Accounts, account_pods, covering
from agent.kube.awakenings import either
from agent.kube.decode import IgnoredDocument, decode_all
from agent.kube.documents import split
from agent.kube.node_folder import NodeFolder
from agent.kube.undecodable_facts import facts_of_document
from agent.model.change import Change, Delete, Keyed, Problem, Resolved, Synced, Upsert, internal_error
from agent.model.core import Pod
from agent.model.meta import Key, Object
from agent.model.weft_node import WeftNode

log = logging.getLogger(__name__)

SUFFIXES = (".yaml", ".yml", ".json")
NO_STAMP = (0, 0, 0)
DEBOUNCE_MS = 50
STEP_MS = 10
# The rescan finds what inotify misses: changes before the watch began, and a directory that was replaced.
RESCAN_MS = 1000


class SourceError(Exception):
    """The source cannot be used. The message is one sentence."""


@dataclass(frozen=True, slots=True)
class _File:
    """The content of one file: its valid objects, the last valid ones of broken documents, and its problems.

    Facts about broken documents are among the objects.
    `lines` has the line at which an object's document begins, `ignored` the number of documents of other kinds.
    """

    stamp: tuple[int, int, int]
    objects: dict[Key, Keyed] = field(default_factory=dict)
    problems: dict[str, Problem] = field(default_factory=dict)
    lines: dict[Key, int] = field(default_factory=dict)
    ignored: Counter[str] = field(default_factory=Counter)


class DirectorySource:
    """The manifests of a directory, as changes.

    While a document of a file is broken, the file's earlier objects stay in force unless a valid document replaces
    them. If two files have the same object, the first by path is used, and the other is a problem.
    """

    name = "manifests"

    def __init__(self, directory: Path, errors: InternalErrors | None = None, nodes: NodeFolder | None = None) -> None:
        """Without `errors` internal errors are raised. `nodes` has the WeftNodes; without it none is read or
        written.
        """
        self._directory = directory
        self._nodes = nodes
        self._errors = errors or InternalErrors()
        self._files: dict[Path, _File] = {}
        self._reported: dict[Key, Keyed] = {}
        self._problems: dict[str, Problem] = {}
        self._logged: set[str] = set()
        self._wanted: Accounts = frozenset()
        self._accounts_read: Accounts = frozenset()
        self._accounts_sent: Accounts = frozenset()
        self._accounts_changed = asyncio.Event()

    @property
    def ignored(self) -> Mapping[str, int]:
        """The number of documents of each kind that weft does not use, by `apps/v1 Deployment`."""
        return dict(sorted(sum((file.ignored for file in self._files.values()), Counter[str]()).items()))

    @property
    def accounts_listed(self) -> bool:
        """Whether all pods of the accounts that are wanted have been emitted."""
        return self._accounts_sent == self._wanted

    def want_accounts(self, accounts: Accounts) -> None:
        """Replace the accounts whose pods are emitted, as `AccountPod`."""
        self._wanted = covering(accounts)
        self._accounts_changed.set()

    @property
    def stale(self) -> str:
        """Empty: this source is never stale. A removed directory is a `Problem`."""
        return ""

    def status(self) -> dict[str, Any]:
        """The source's part of `weft status`."""
        return {"kind": self.name, "directory": str(self._directory), "stale": self.stale, "ignored": self.ignored}

    async def changes(self) -> AsyncIterator[list[Change]]:
        """All objects, then `Synced`, then changes. Raises `SourceError` when the directory cannot be read."""
        if not self._directory.is_dir():
            raise SourceError(f"--manifests: {self._directory} is not a directory")
        folders = [self._directory]
        if self._nodes is not None:
            self._nodes.folder.mkdir(parents=True, exist_ok=True)
            folders.append(self._nodes.folder)
        watch = awatch(
            *folders,
            debounce=DEBOUNCE_MS,
            step=STEP_MS,
            rust_timeout=RESCAN_MS,
            yield_on_timeout=True,
            ignore_permission_denied=True,
        )
        yield [*await asyncio.to_thread(self.read), Synced(self.name)]
        async for _ in either(watch, self._accounts_changed):
            batch = await asyncio.to_thread(self.read)
            if batch:
                yield batch
            # It has been taken.
            self._accounts_sent = self._accounts_read

    async def write_weft_node(self, node: WeftNode) -> None:
        """Write this node's WeftNode. Raises `OSError`."""
        if self._nodes is not None:
            self._nodes.write(node)

    def read(self) -> list[Change]:
        """Read the directory, and the WeftNodes. Returns the difference from the last read.

        Files whose stamp is unchanged are not parsed again.
        """
        vanished = not self._directory.is_dir()
        if vanished:
            where = str(self._directory)
            return self._diff(
                self._reported,
                {where: Problem(where, "directory", "$", "does not exist any more; its last state stays in force")},
            )
        self._files = {path: _read(path, self._files.get(path), self._errors) for path in _manifests(self._directory)}
        objects: dict[Key, Keyed] = {}
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
        self._log_ignored()
        self._errors.keep("decode", problems)
        if self._nodes is not None:
            reported, broken = self._nodes.read()
            objects |= reported
            problems |= broken
        wanted = self._wanted
        pods = [value for value in objects.values() if isinstance(value, Pod)]
        objects |= {fact.key: fact for account in wanted for fact in account_pods(pods, account)}
        changes = self._diff(objects, problems)
        self._accounts_read = wanted
        return changes

    def _log_ignored(self) -> None:
        """Log each kind that is not used, once."""
        for kind, count in self.ignored.items():
            if kind not in self._logged:
                self._logged.add(kind)
                log.info("kind is not read", extra={"kind": kind, "documents": count})

    def location(self, key: Key) -> str:
        """The file and line of an object; empty if it is in no file."""
        locations = (f"{path}:{file.lines[key]}" for path, file in self._files.items() if key in file.objects)
        return next(locations, "")

    def _diff(self, objects: dict[Key, Keyed], problems: dict[str, Problem]) -> list[Change]:
        batch: list[Change] = [Delete(key) for key in self._reported if key not in objects]
        batch += [Upsert(value) for key, value in objects.items() if self._reported.get(key) != value]
        batch += [Resolved(where) for where in self._problems if where not in problems]
        batch += [problem for where, problem in problems.items() if self._problems.get(where) != problem]
        self._reported, self._problems = objects, problems
        return batch


def parsed(directory: Path) -> Iterator[tuple[str, Any]]:
    """Every parseable document of a directory or file, with its file and line."""
    for path in _manifests(directory) if directory.is_dir() else [directory]:
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        for document in split(text, path.suffix == ".json"):
            if not document.error:
                yield f"{path}:{document.line}", document.value


def _manifests(directory: Path) -> list[Path]:
    """Manifest files, sorted. Hidden files, which editors make, are left out.

    A directory that is removed during the walk has no files; the watch reports its removal.
    """
    found: list[Path] = []
    for folder, folders, files in os.walk(directory):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += (Path(folder, name) for name in files if not name.startswith("."))
    return sorted(path for path in found if path.suffix in SUFFIXES)


def _read(path: Path, before: _File | None, errors: InternalErrors) -> _File:
    """A file's objects and problems. An unchanged file is not read again."""
    stamp = NO_STAMP
    try:
        found = path.stat()
        stamp = (found.st_ino, found.st_mtime_ns, found.st_size)
        if before and before.stamp == stamp:
            return before
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        problem = Problem(str(path), "file", "$", str(error))
        kept = before or _File(NO_STAMP)
        return _File(NO_STAMP, kept.objects, {problem.where: problem}, kept.lines, kept.ignored)
    made = _parse(path, text, stamp, errors)
    if before is None or not made.problems:
        return made
    return _File(stamp, before.objects | made.objects, made.problems, before.lines | made.lines, made.ignored)


def _parse(path: Path, text: str, stamp: tuple[int, int, int], errors: InternalErrors) -> _File:
    """The objects of a file's text, and the problems with its documents."""
    objects: dict[Key, Keyed] = {}
    problems: dict[str, Problem] = {}
    lines: dict[Key, int] = {}
    ignored: Counter[str] = Counter()
    for document in split(text, path.suffix == ".json"):
        where = f"{path}:{document.line}"
        if document.error:
            problems[where] = Problem(where, f"document {document.number}", "$", document.error)
            continue
        read: Iterable[tuple[str, Object | Problem | IgnoredDocument]]
        problem = internal_error(where, f"document {document.number}")
        read = ((where, replace(problem, facts=facts_of_document(document.value, problem))),)
        with errors.guard("decode", where):
            read = list(decode_all(document.value, where))
        for location, found in read:
            if isinstance(found, Problem):
                problems[location] = replace(found, facts=())
                for fact in found.facts:
                    objects[fact.key] = fact
                    lines[fact.key] = document.line
            elif isinstance(found, IgnoredDocument):
                ignored[found.kind] += 1
            elif found.key in objects:
                problems[location] = Problem(location, str(found.key), "$", "is in this file twice; the first is used")
            else:
                objects[found.key] = found
                lines[found.key] = document.line
    return _File(stamp, objects, problems, lines, ignored)
