"""Which regular expressions are taken, and what is said of the others."""

import pytest

from agent.translate.routes.regex import MAX_LENGTH, MAX_REPEAT, regex_fault


@pytest.mark.parametrize(
    "text", ["", "/a.*", r"/\d+(\.\w+)?", "(?P<name>a|b)", "(?i)abc", "(?:a){2,5}", r"\\1", "a" * MAX_LENGTH]
)
def test_what_both_engines_take_is_taken(text: str) -> None:
    assert regex_fault(text) == ""


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("(?=a)", "look-around"),
        ("(?!a)", "look-around"),
        ("(?<=a)b", "look-around"),
        ("(?<!a)b", "look-around"),
        ("(?>a)", "an atomic group"),
        ("(a)?(?(1)b|c)", "a condition"),
        ("(?P<n>a)(?P=n)", "a back-reference"),
        (r"(a)\1", "a back-reference"),
        ("a++", "a possessive repeat"),
        ("(", "is not a regular expression"),
        ("a" * (MAX_LENGTH + 1), "characters are more than"),
        (f"a{{{MAX_REPEAT + 1}}}", "repeats more than"),
        (f"a{{1,{MAX_REPEAT + 1}}}", "repeats more than"),
    ],
)
def test_what_one_of_them_does_not_take_is_explained(text: str, fault: str) -> None:
    assert fault in regex_fault(text)
