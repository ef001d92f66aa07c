"""Regular expressions as Envoy takes them (RE2): one bad one would make it refuse a whole route table."""

import re
import warnings

MAX_LENGTH = 1024
MAX_REPEAT = 1000
# Python's engine knows these and RE2 does not.
_NOT_RE2 = re.compile(
    r"\(\?(?P<look>=|!|<=|<!)|\(\?(?P<atomic>>)|\(\?(?P<condition>\()|\(\?(?P<name>P=)|\\(?P<back>[1-9])|(?P<poss>[*+?}]\+)"
)
_NAMES = {
    "look": "look-around",
    "atomic": "an atomic group",
    "condition": "a condition",
    "name": "a back-reference",
    "back": "a back-reference",
    "poss": "a possessive repeat",
}
_REPEAT = re.compile(r"\{(\d*),?(\d*)\}")


def regex_fault(text: str) -> str:
    """Why RE2 would not take an expression, empty when it would."""
    if len(text) > MAX_LENGTH:
        return f"{len(text)} characters are more than {MAX_LENGTH}"
    unescaped = re.sub(r"\\[^1-9]", "", text)
    found = _NOT_RE2.search(unescaped)
    if found is not None:
        return f"{_NAMES[found.lastgroup or '']} is not in RE2"
    if any(int(number or 0) > MAX_REPEAT for pair in _REPEAT.findall(unescaped) for number in pair):
        return f"repeats more than {MAX_REPEAT} times"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            re.compile(text)
    except (re.error, Warning, OverflowError, RecursionError) as error:
        return f"is not a regular expression: {error}"
    return ""
