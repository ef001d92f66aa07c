"""WeftNodes as files, for agents whose source is a directory: each writes its own, and reads all of them."""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from agent import atomic_file
from agent.kube.node_reports import read_node_report
from agent.model.change import Keyed, Problem
from agent.model.meta import Key
from agent.model.weft_node import KIND, WeftNode

SUFFIX = ".json"


class NodeFolder:
    """The WeftNodes in a folder, one file for each node, named as the node."""

    def __init__(self, folder: Path, node: str) -> None:
        """`node` is this node."""
        self.folder = folder
        self._own = folder / f"{node}{SUFFIX}"
        self._good: dict[Path, tuple[Keyed, ...]] = {}

    def write(self, node: WeftNode) -> None:
        """Replace this node's file atomically. Raises `OSError`."""
        atomic_file.replace(self._own, msgspec.json.format(msgspec.json.encode(node.document()), indent=1))

    def read(self) -> tuple[dict[Key, Keyed], dict[str, Problem]]:
        """What the nodes report, and problems by file. A broken file leaves what it had before in force."""
        found = dict(self._read())
        self._good = {path: item for path, item in found.items() if not isinstance(item, Problem)} | {
            path: self._good.get(path, ()) for path, item in found.items() if isinstance(item, Problem)
        }
        problems = {item.where: item for item in found.values() if isinstance(item, Problem)}
        return {value.key: value for values in self._good.values() for value in values}, problems

    def _read(self) -> Iterator[tuple[Path, tuple[Keyed, ...] | Problem]]:
        for path in sorted(self.folder.glob(f"[!.]*{SUFFIX}")):
            try:
                raw = path.read_bytes()
            except FileNotFoundError:
                continue
            except OSError as error:
                yield path, Problem(str(path), KIND, "$", str(error))
                continue
            read = read_node_report(raw, str(path))
            yield path, read if isinstance(read, Problem) else tuple(read)
