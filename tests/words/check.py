"""Fails on identifiers that were replaced by the field's word: `old_words.toml` lists them with their replacement.

Python names come from `tokenize`, C names from the source without comments and strings; names of files count too. Prose
is not checked, nor are names of tests, which are sentences.
"""

import io
import re
import subprocess
import sys
import tokenize
import tomllib
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
LIST = Path(__file__).with_name("old_words.toml")
FOLDERS = ("agent", "bench", "bpf", "tests", "vm-tests")
SUFFIXES = {".py": "python", ".c": "c", ".h": "c"}
_C_TEXT = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.DOTALL)
_C_NAME = re.compile(r"[A-Za-z_]\w*")
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


class OldWord(NamedTuple):
    """A word, its replacement, the language that it is gone from, and patterns of files where it has another meaning.

    `is_part`: it is also refused as a part of an identifier, in any case (`route_set` in `HTTPRouteSet`).
    """

    old: str
    new: str
    language: str
    is_part: bool = False
    exceptions: tuple[str, ...] = ()

    def is_in(self, name: str) -> bool:
        """Whether an identifier is this word, also as a constant, or contains it."""
        if not self.is_part:
            bare = name.strip("_")
            return self.old in (bare, bare.lower() if bare.isupper() else bare)
        old, found = parts(self.old), parts(name)
        return any(found[start : start + len(old)] == old for start in range(len(found) - len(old) + 1))


@cache
def parts(name: str) -> tuple[str, ...]:
    """The words of an identifier in lower case: `HTTPRouteSet` → http, route, set."""
    return tuple(part.lower() for part in _PART.findall(name))


def old_words(text: str) -> list[OldWord]:
    """The words of a list in TOML: `[LANGUAGE.names]` are whole identifiers, `[LANGUAGE.parts]` parts of them too.

    `[exceptions]` has, by old word, the files where it has another meaning.
    """
    document = tomllib.loads(text)
    exceptions = document.pop("exceptions", {})
    return [
        OldWord(old, new, language, kind == "parts", tuple(exceptions.get(old, ())))
        for language, kinds in document.items()
        for kind, words in kinds.items()
        for old, new in words.items()
    ]


def python_names(source: str) -> Iterator[tuple[int, str]]:
    """Every name in Python source, with its line."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.NAME:
            yield token.start[0], token.string


def c_names(source: str) -> Iterator[tuple[int, str]]:
    """Every name in C source, with its line."""
    blanked = _C_TEXT.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), source)
    for number, line in enumerate(blanked.splitlines(), 1):
        for match in _C_NAME.finditer(line):
            yield number, match.group()


def matcher(words: Iterable[OldWord]) -> Callable[[str], tuple[OldWord, ...]]:
    """A function that returns the old words in an identifier; each identifier is looked at once."""
    listed = tuple(words)

    @cache
    def match(name: str) -> tuple[OldWord, ...]:
        return tuple(word for word in listed if word.is_in(name))

    return match


def findings(path: str, source: str, match: Callable[[str], tuple[OldWord, ...]]) -> Iterator[str]:
    """One line for each old word in a file: the place, the identifier, and the replacement."""
    language = SUFFIXES[Path(path).suffix]
    names = python_names(source) if language == "python" else c_names(source)
    for line, name in sorted({(1, Path(path).stem), *names}):
        for word in () if name.startswith("test_") else match(name):
            if word.language == language and not any(fnmatchcase(path, pattern) for pattern in word.exceptions):
                yield f"{path}:{line}: {name}: {word.old} is now {word.new}"


def tracked(root: Path) -> list[str]:
    """The files in Python and C that git tracks, in `FOLDERS`."""
    patterns = [f"{folder}/*{suffix}" for folder in FOLDERS for suffix in SUFFIXES]
    listed = subprocess.run(["git", "ls-files", *patterns], cwd=root, capture_output=True, text=True, check=True)
    return [path for path in listed.stdout.splitlines() if (root / path).is_file()]


def main() -> int:
    """Print every finding; the exit code is 1 where there is one."""
    match = matcher(old_words(LIST.read_text()))
    found = [line for path in tracked(ROOT) for line in findings(path, (ROOT / path).read_text(), match)]
    print("\n".join(found), end="\n" if found else "")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
