"""Regular expressions, judged by Envoy's own engine: one bad one would make it refuse a whole route table.

Envoy compiles expressions with RE2 for Latin-1, which is: it compares bytes (1.40). Everything here is bounded before
it costs something, since anybody who may write a Route makes every node compile its expressions.
"""

import re
from functools import lru_cache

import re2

from agent.ir.envoy import MAX_PROGRAM_SIZE

MAX_LENGTH = 1024
# Of one Route.
MAX_EXPRESSIONS = 256

_OPTIONS = re2.Options()
_OPTIONS.log_errors = False
_OPTIONS.encoding = re2.Options.Encoding.LATIN1
# Bytes: RE2 stops early where a program is far too large, at about 5 000 instructions.
_OPTIONS.max_mem = 2**18
_TOO_LARGE = f"its RE2 program is larger than {MAX_PROGRAM_SIZE} instructions"
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_REPETITION = re.compile(r"\{(\d+)(?:,(\d*))?\}")


@lru_cache(maxsize=4096)
def regex_error(text: str) -> str:
    """Why Envoy would not take an expression, empty when it does."""
    if not text:
        return "is empty"
    if len(text) > MAX_LENGTH:
        return f"{len(text)} characters are more than {MAX_LENGTH}"
    # RE2 needs up to 80 ms for each of these where case is ignored.
    if any(found in "pP" for found in _ESCAPE.findall(text)):
        return r"Unicode classes (\p) are not supported: Envoy compares bytes; [[:alpha:]] and the like are"
    if _repetitions(text) > MAX_PROGRAM_SIZE:
        return _TOO_LARGE
    return _compiled(text)


def full_match(expression: str, text: str) -> bool:
    """Whether Envoy finds that an expression means the whole of a text."""
    return re2.fullmatch(expression.encode(), text.encode(), _OPTIONS) is not None


def _repetitions(text: str) -> int:
    """How often all parts are repeated at most: a program has at least one instruction for each time."""
    return sum(int(most or least) for least, most in _REPETITION.findall(text))


def _compiled(text: str) -> str:
    try:
        size = re2.compile(text.encode(), _OPTIONS).programsize
    except re2.error as error:
        reason = error.args[0]
        said = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        return _TOO_LARGE if said.startswith("pattern too large") else f"RE2 does not take it: {said}"
    return _TOO_LARGE if size > MAX_PROGRAM_SIZE else ""
