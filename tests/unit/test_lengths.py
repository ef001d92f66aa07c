"""No file has more than 300 lines, no function more than 40; the check of `make check` finds them."""

import pytest
from words.lengths import ROOT, c_functions, findings, python_functions, tracked


def test_no_file_and_no_function_of_the_project_is_too_long() -> None:
    assert [line for path in tracked(ROOT) for line in findings(path, (ROOT / path).read_text())] == []


@pytest.mark.parametrize(
    ("path", "source", "found"),
    [
        ("a.py", "x = 1\n" * 300, []),
        ("a.py", "x = 1\n" * 301, ["a.py: 301 lines, at most 300: split it along an idea"]),
        ("a.py", "def f():\n" + "    x = 1\n" * 39, []),
        ("a.py", "\nasync def f():\n" + "    x = 1\n" * 40, ["a.py:2: f has 41 lines, at most 40"]),
        ("a.py", "class A:\n    def f(self):\n" + "        x = 1\n" * 40, ["a.py:2: f has 41 lines, at most 40"]),
        ("a.h", "static int f(void)\n{\n" + "\tg();\n" * 37 + "}\n", []),
        (
            "a.h",
            "\nstatic int f(int a,\n\t     int b)\n{\n" + "\tg();\n" * 37 + "}\n",
            ["a.h:2: f has 41 lines, at most 40"],
        ),
    ],
)
def test_what_is_too_long_is_named(path: str, source: str, found: list[str]) -> None:
    assert list(findings(path, source)) == found


def test_functions_of_the_programs_are_found() -> None:
    programs = (ROOT / "bpf/weft.c").read_text()
    assert {name for _, name, _ in c_functions(programs)} >= {"weft_connect4", "weft_sock_ops", "weft_guard"}
    assert [name for _, name, _ in python_functions("class A:\n    def f(self):\n        def g(): ...\n")] == ["f", "g"]
