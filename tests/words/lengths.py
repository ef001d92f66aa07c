"""Fails on files of more than 300 lines and functions of more than 40, which ruff does not count.

A function's lines are those from its `def` to its last, with the docstring; in C from its name to the closing brace.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PATTERNS = ("*.py", "*.c", "*.h")
FILE_LINES, FUNCTION_LINES = 300, 40


def python_functions(source: str) -> Iterator[tuple[int, str, int]]:
    """Every function and method: the line where it begins, its name, and how many lines it has."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.lineno, node.name, (node.end_lineno or node.lineno) - node.lineno + 1


def c_functions(source: str) -> Iterator[tuple[int, str, int]]:
    """Every function, as above. clang-format puts its braces on lines of their own, and nothing else's."""
    start, name = 0, ""
    for number, line in enumerate(source.splitlines(), 1):
        if line[:1].isalpha() and "(" in line:
            start, name = number, line.split("(")[0].split()[-1].lstrip("*")
        elif line == "}":
            yield start, name, number - start + 1


def findings(path: str, source: str) -> Iterator[str]:
    """One line for a file that is too long, and for each such function in it."""
    lines = len(source.splitlines())
    if lines > FILE_LINES:
        yield f"{path}: {lines} lines, at most {FILE_LINES}: split it along an idea"
    functions = python_functions if path.endswith(".py") else c_functions
    for number, name, length in functions(source):
        if length > FUNCTION_LINES:
            yield f"{path}:{number}: {name} has {length} lines, at most {FUNCTION_LINES}"


def tracked(root: Path) -> list[str]:
    """The files in Python and C that git tracks."""
    listed = subprocess.run(["git", "ls-files", *PATTERNS], cwd=root, capture_output=True, text=True, check=True)
    return [path for path in listed.stdout.splitlines() if (root / path).is_file()]


def main() -> int:
    """Print every finding; the exit code is 1 where there is one."""
    found = [line for path in tracked(ROOT) for line in findings(path, (ROOT / path).read_text())]
    print("\n".join(found), end="\n" if found else "")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
