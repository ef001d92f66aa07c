"""No identifier is a word that the field's replaced; the check of `make check` finds one in code, not in prose."""

import pytest
from words.check import LIST, ROOT, findings, matcher, old_words, tracked

WORDS = """
[python.parts]
route_set = "ListenerIR"
[python.names]
Fault = "FieldError"
hop = "controller"
[c.names]
turn = "rate_window"
[exceptions]
hop = ["agent/lab/*"]
"""
MATCH = matcher(old_words(WORDS))


def test_the_project_has_no_old_word() -> None:
    match = matcher(old_words(LIST.read_text()))
    assert [line for path in tracked(ROOT) for line in findings(path, (ROOT / path).read_text(), match)] == []


@pytest.mark.parametrize(
    ("path", "source", "found"),
    [
        ("agent/a.py", "\nclass Fault: ...\n", ["agent/a.py:2: Fault: Fault is now FieldError"]),
        ("agent/a.py", "def _hop(): ...\n", ["agent/a.py:1: _hop: hop is now controller"]),
        ("agent/a.py", "HOP = 1\n", ["agent/a.py:1: HOP: hop is now controller"]),
        ("agent/a.py", "TLSRouteSet = 1\n", ["agent/a.py:1: TLSRouteSet: route_set is now ListenerIR"]),
        ("agent/a.py", "x.route_sets_of\n", []),
        ("agent/a.py", "x.my_route_set_of\n", ["agent/a.py:1: my_route_set_of: route_set is now ListenerIR"]),
        ("agent/hop.py", "", ["agent/hop.py:1: hop: hop is now controller"]),
        ("bpf/a.h", "int f(void)\n{ return turn; }\n", ["bpf/a.h:2: turn: turn is now rate_window"]),
    ],
)
def test_an_old_word_is_found_with_its_place_and_the_field_s_word(path: str, source: str, found: list[str]) -> None:
    assert list(findings(path, source, MATCH)) == found


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("agent/a.py", '"""A hop, a Fault."""\nx = "hop"  # hop\nf"{x} hop"\n'),
        ("agent/a.py", "fault = hops = default = 1\n"),
        ("agent/lab/a.py", "hop = 1\n"),
        ("agent/a.py", "turn = 1\n"),
        ("tests/a.py", "def test_every_hop_of_a_route_set(): ...\n"),
        ("bpf/a.c", '/* its turn\n turn */ int turns; // turn\nchar *s = "turn \\" turn";\n'),
    ],
)
def test_prose_other_words_and_exceptions_are_not_found(path: str, source: str) -> None:
    assert list(findings(path, source, MATCH)) == []
