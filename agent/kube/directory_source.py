"""A source that reads and watches a directory of manifests."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from watchfiles import awatch

from agent.internal_errors import InternalErrors
from agent.kube.account_pods import Accounts, account_pods, covering
from agent.kube.awakenings import either
from agent.kube.documents import split
from agent.kube.manifest_folder import EVERYTHING, ManifestFolder, manifests
from agent.kube.manifest_objects import ManifestObjects
from agent.kube.node_folder import NodeFolder
from agent.model.change import Change, Delete, Keyed, Problem, Resolved, Synced, Upsert
from agent.model.core import Pod
from agent.model.meta import Key
from agent.model.weft_node import WeftNode

log = logging.getLogger(__name__)

DEBOUNCE_MS = 50
STEP_MS = 10
# The rescan finds what the watch does not tell: changes before it began, in a folder before it is watched, and in a
# directory that was replaced, events that the kernel dropped (IN_Q_OVERFLOW), and targets of links.
RESCAN_MS = 1000


class SourceError(Exception):
    """The source cannot be used. The message is one sentence."""


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
        self._manifests = ManifestObjects(ManifestFolder(directory, self._errors))
        self._vanished = False
        self._reported: dict[Key, Keyed] = {}
        self._node_reports: set[Key] = set()
        self._problems: dict[str, Problem] = {}
        self._logged: set[str] = set()
        self._wanted: Accounts = frozenset()
        self._accounts_read: Accounts = frozenset()
        self._accounts_sent: Accounts = frozenset()
        self._accounts_changed = asyncio.Event()

    @property
    def ignored(self) -> Mapping[str, int]:
        """The number of documents of each kind that weft does not use, by `apps/v1 Deployment`."""
        return self._manifests.ignored

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
            *(folder.absolute() for folder in folders),
            watch_filter=None,
            debounce=DEBOUNCE_MS,
            step=STEP_MS,
            rust_timeout=RESCAN_MS,
            yield_on_timeout=True,
            ignore_permission_denied=True,
        )
        yield [*await asyncio.to_thread(self.read), Synced(self.name)]
        next_rescan = 0.0
        async for events in either(watch, self._accounts_changed):
            # The watch yields no event when nothing happened for `RESCAN_MS`.
            is_rescan = events == set() or time.monotonic() >= next_rescan
            names = self._names(path for _, path in events or ())
            batch = await asyncio.to_thread(self.read, [*EVERYTHING, *names] if is_rescan else names)
            if is_rescan:
                next_rescan = time.monotonic() + RESCAN_MS / 1000
            if batch:
                yield batch
            # It has been taken.
            self._accounts_sent = self._accounts_read

    def _names(self, paths: Iterable[str]) -> list[str]:
        """The names of those paths of events that are in the directory."""
        top = str(self._directory.absolute())
        return ["" if path == top else path[len(top) + 1 :] for path in paths if f"{path}/".startswith(f"{top}/")]

    async def write_weft_node(self, node: WeftNode) -> None:
        """Write this node's WeftNode. Raises `OSError`."""
        if self._nodes is not None:
            self._nodes.write(node)

    def read(self, names: Iterable[str] = EVERYTHING) -> list[Change]:
        """Look again at files and folders, whose names are relative to the directory, and read the WeftNodes. Returns
        the difference from the last read.
        """
        if not self._directory.is_dir():
            self._vanished = True
            where = str(self._directory)
            message = "does not exist any more; its last state stays in force"
            return self._problems_changed({where: Problem(where, "directory", "$", message)})
        changed, ignored = self._manifests.look(EVERYTHING if self._vanished else names)
        self._vanished = False
        self._log(ignored)
        problems = self._manifests.problems
        self._errors.keep("decode", problems)
        if self._nodes is not None:
            reported, broken = self._nodes.read()
            changed |= {key: reported.get(key) for key in self._node_reports | reported.keys()}
            self._node_reports = set(reported)
            problems |= broken
        changed |= self._account_pods(changed)
        return self._objects_changed(changed) + self._problems_changed(problems)

    def _account_pods(self, changed: Mapping[Key, Keyed | None]) -> dict[Key, Keyed | None]:
        """The facts about accounts' pods that may have changed; None for one that does not hold any more."""
        before, wanted = self._accounts_read, self._wanted
        self._accounts_read = wanted
        keys = list(changed if before == wanted else {**self._reported, **changed})
        old = [value for key in keys if isinstance(value := self._reported.get(key), Pod)]
        new = [value for key in keys if isinstance(value := changed.get(key, self._reported.get(key)), Pod)]
        facts: dict[Key, Keyed | None] = {fact.key: None for account in before for fact in account_pods(old, account)}
        return facts | {fact.key: fact for account in wanted for fact in account_pods(new, account)}

    def _log(self, ignored: Iterable[str]) -> None:
        """Log each kind that is not used, once."""
        new = sorted(set(ignored) - self._logged)
        for kind in new:
            self._logged.add(kind)
            log.info("kind is not read", extra={"kind": kind, "documents": self.ignored[kind]})

    def location(self, key: Key) -> str:
        """The file and line of an object; empty if it is in no file."""
        return self._manifests.location(key)

    def _objects_changed(self, changed: Mapping[Key, Keyed | None]) -> list[Change]:
        gone = [key for key, value in changed.items() if value is None and key in self._reported]
        new = [value for key, value in changed.items() if value is not None and self._reported.get(key) != value]
        for key in gone:
            del self._reported[key]
        self._reported |= {value.key: value for value in new}
        return [*map(Delete, gone), *map(Upsert, new)]

    def _problems_changed(self, problems: dict[str, Problem]) -> list[Change]:
        batch: list[Change] = [Resolved(where) for where in self._problems if where not in problems]
        batch += [problem for where, problem in problems.items() if self._problems.get(where) != problem]
        self._problems = problems
        return batch


def parsed(directory: Path) -> Iterator[tuple[str, Any]]:
    """Every parseable document of a directory or file, with its file and line."""
    for path in manifests(directory) if directory.is_dir() else [directory]:
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        for document in split(text, path.suffix == ".json"):
            if not document.error:
                yield f"{path}:{document.line}", document.value
