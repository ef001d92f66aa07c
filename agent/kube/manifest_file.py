"""One file of manifests: its objects, and the problems with its documents."""

import os
import stat
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from agent.internal_errors import InternalErrors
from agent.kube.decode import IgnoredDocument, decode_all
from agent.kube.documents import split
from agent.kube.undecodable_facts import facts_of_document
from agent.model.change import Keyed, Problem, internal_error
from agent.model.meta import Key, Object

Stamp = tuple[int, int, int]
NO_STAMP = (0, 0, 0)


@dataclass(frozen=True, slots=True)
class ManifestFile:
    """The content of one file: its valid objects, the last valid ones of broken documents, and its problems.

    Facts about broken documents are among the objects. `is_link` says whether the file is a symbolic link.
    `lines` has the line at which an object's document begins, `ignored` the number of documents of other kinds.
    """

    stamp: Stamp = NO_STAMP
    is_link: bool = False
    objects: dict[Key, Keyed] = field(default_factory=dict)
    problems: dict[str, Problem] = field(default_factory=dict)
    lines: dict[Key, int] = field(default_factory=dict)
    ignored: Counter[str] = field(default_factory=Counter)


def read_file(path: Path, before: ManifestFile | None, errors: InternalErrors, *, stamp_counts: bool) -> ManifestFile:
    """A file's objects and problems. With `stamp_counts` a file whose stamp is unchanged is not read again: the result
    is `before`. What is broken leaves what was there `before` in force.
    """
    is_link = False
    try:
        found = os.lstat(path)
        is_link = stat.S_ISLNK(found.st_mode)
        if is_link:
            found = os.stat(path)
        stamp = (found.st_ino, found.st_mtime_ns, found.st_size)
        if stamp_counts and before and before.stamp == stamp:
            return before
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        problem = Problem(str(path), "file", "$", str(error))
        return replace(before or ManifestFile(), stamp=NO_STAMP, is_link=is_link, problems={problem.where: problem})
    made = _parse(path, text, ManifestFile(stamp, is_link), errors)
    if before is None or not made.problems:
        return made
    return replace(made, objects=before.objects | made.objects, lines=before.lines | made.lines)


def _parse(path: Path, text: str, file: ManifestFile, errors: InternalErrors) -> ManifestFile:
    """Add the objects of a file's text, and the problems with its documents, to an empty file. Returns the file."""
    for document in split(text, path.suffix == ".json"):
        where = f"{path}:{document.line}"
        if document.error:
            file.problems[where] = Problem(where, f"document {document.number}", "$", document.error)
            continue
        read: Iterable[tuple[str, Object | Problem | IgnoredDocument]]
        problem = internal_error(where, f"document {document.number}")
        read = ((where, replace(problem, facts=facts_of_document(document.value, problem))),)
        with errors.guard("decode", where):
            read = list(decode_all(document.value, where))
        for location, found in read:
            if isinstance(found, Problem):
                file.problems[location] = replace(found, facts=())
                for fact in found.facts:
                    file.objects[fact.key] = fact
                    file.lines[fact.key] = document.line
            elif isinstance(found, IgnoredDocument):
                file.ignored[found.kind] += 1
            elif found.key in file.objects:
                subject, message = str(found.key), "is in this file twice; the first is used"
                file.problems[location] = Problem(location, subject, "$", message)
            else:
                file.objects[found.key] = found
                file.lines[found.key] = document.line
    return file
