"""The automata of regular expressions: what they match, compared with RE2, and which are too large."""

import re2
from hypothesis import given
from hypothesis import strategies as st

from agent.translate.automaton import Automaton
from agent.translate.expression_syntax import parsed
from agent.translate.regex import MAX_STEPS, regex_error

OPTIONS = re2.Options()
OPTIONS.encoding = re2.Options.Encoding.LATIN1
ATOMS = st.sampled_from(
    [
        *("a", "b", "B", "1", " ", ".", "-", "]", "}", "{", "{a", "_", "é"),
        *(r"\d", r"\D", r"\w", r"\W", r"\s", r"\S", r"\.", r"\n", r"\t", r"\x61", r"\x{62}", r"\101", r"\0", r"\C"),
        *("[ab]", "[^ab]", "[a-c1-3]", "[]a]", "[^]a]", "[a-]", "[-a]", r"[\d-]", r"[\w.]", r"[\x61-\x63]", r"[^\s\W]"),
        *("[[:alpha:]]", "[[:^digit:]_]", "[^[:space:]b]", "[+--]", r"[\]a]", r"\Qa.b*\E", r"\Q\E", "(?:)", "()"),
    ]
)
FLAGS = st.sampled_from(["(?i)", "(?s)", "(?-s)", "(?U)", "(?is)", "(?-i)"])
REPETITIONS = st.sampled_from(["*", "+", "?", "*?", "+?", "??", "{2}", "{1,3}", "{0,2}?", "{2,}", "{0}", "{0,}"])
GROUPS = st.sampled_from(["(", "(?:", "(?P<n>", "(?i:", "(?s-i:", "(?<m>"])


def _larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map("|".join),
        st.tuples(GROUPS, inner).map(lambda found: f"{found[0]}{found[1]})"),
        st.tuples(GROUPS, inner, REPETITIONS).map(lambda found: f"{found[0]}{found[1]}){found[2]}"),
        st.tuples(FLAGS, inner).map("".join),
    )


SIMPLE = st.one_of(ATOMS, st.tuples(ATOMS, REPETITIONS).map("".join))
EXPRESSIONS = st.recursive(SIMPLE, _larger, max_leaves=8)
TEXTS = st.lists(st.sampled_from([*"aabbABcC1 2.-]}{_*\n\t\0", "é", "ÿ"]), max_size=7).map("".join)


@given(EXPRESSIONS, st.lists(TEXTS, min_size=1, max_size=8))
def test_they_match_what_re2_matches(expression: str, texts: list[str]) -> None:
    if regex_error(expression):
        return  # two groups of one name, or a repetition of nothing
    made = Automaton(parsed(expression), 10 * MAX_STEPS)
    compiled = re2.compile(expression.encode(), OPTIONS)
    for text in texts:
        assert made.matches(text.encode()) == (compiled.fullmatch(text.encode()) is not None), text
