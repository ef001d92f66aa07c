"""A directory of manifests, read once."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from agent.kube.directory_source import DirectorySource, SourceError
from agent.model.change import Keyed, Problem, Upsert
from agent.model.meta import Key


@dataclass(frozen=True, slots=True)
class Manifests:
    """Every object that can be used, what cannot, and in which file and line each object begins.

    `ignored` is the number of documents of each kind that weft does not read, by `apps/v1 Deployment`.
    """

    objects: Mapping[Key, Keyed]
    problems: tuple[Problem, ...]
    locations: Mapping[Key, str]
    ignored: Mapping[str, int]


def read(directory: Path) -> Manifests:
    """Read the manifests as the agent would. Raises `SourceError` when the directory is none."""
    if not directory.is_dir():
        raise SourceError(f"{directory} is not a directory")
    source = DirectorySource(directory)
    changes = source.read()
    objects = {change.value.key: change.value for change in changes if isinstance(change, Upsert)}
    problems = tuple(change for change in changes if isinstance(change, Problem))
    return Manifests(objects, problems, {key: source.location(key) for key in objects}, source.ignored)
