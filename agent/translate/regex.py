"""Regular expressions, judged by Envoy's own engine: one bad one would make it refuse a whole route table, and one that
takes long to match would hold a worker that serves all tenants.

Envoy compiles expressions with RE2 for Latin-1, that is, it compares bytes (1.40). Every check here has a bounded cost,
since every node compiles the expressions of all Routes, whoever wrote them.
"""

import re
from functools import lru_cache
from typing import NamedTuple

import re2

from agent.ir.envoy import MAX_PROGRAM_SIZE
from agent.translate.automaton import Automaton, TooLargeError
from agent.translate.expression_syntax import MAX_DEPTH, TooDeepError, parsed

MAX_LENGTH = 1024
# Of one Route.
MAX_EXPRESSIONS = 256
# Of making the automaton of an expression, and those of a Route: bounds of Envoy's work and memory. A usual one takes
# less than 1000.
MAX_STEPS, MAX_STEPS_OF_ROUTE = 20_000, 100_000

_OPTIONS = re2.Options()
_OPTIONS.log_errors = False
_OPTIONS.encoding = re2.Options.Encoding.LATIN1
# Bytes: RE2 stops early where a program is far too large, at about 5 000 instructions.
_OPTIONS.max_mem = 2**18
_TOO_LARGE = f"its RE2 program is larger than {MAX_PROGRAM_SIZE} instructions"
_SLOW = "RE2 may match it slowly: its automaton is too large, as one with a counted repetition after `.*` is"
_TOO_DEEP = f"more than {MAX_DEPTH} groups are within each other"
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_REPETITION = re.compile(r"\{(\d+)(?:,(\d*))?\}")


class Judgement(NamedTuple):
    """Why Envoy would refuse an expression, or be slow; empty when it is taken. The steps that its automaton took."""

    error: str
    steps: int = 0


@lru_cache(maxsize=4096)
def judged(text: str) -> Judgement:
    """Judge an expression, in at most `MAX_STEPS`."""
    if not text:
        return Judgement("is empty")
    if len(text) > MAX_LENGTH:
        return Judgement(f"{len(text)} characters are more than {MAX_LENGTH}")
    # RE2 needs up to 80 ms for each of these where case is ignored.
    if any(found in "pP" for found in _ESCAPE.findall(text)):
        return Judgement(r"Unicode classes (\p) are not supported: Envoy compares bytes; [[:alpha:]] and the like are")
    if _repetitions(text) > MAX_PROGRAM_SIZE:
        return Judgement(_TOO_LARGE)
    error = _compiled(text)
    return Judgement(error) if error else _automaton(text)


def regex_error(text: str) -> str:
    """Why an expression is not taken; empty when it is."""
    return judged(text).error


def full_match(expression: str, text: str) -> bool:
    """Whether an expression matches the whole of a text, as Envoy decides it."""
    return re2.fullmatch(expression.encode(), text.encode(), _OPTIONS) is not None


def _repetitions(text: str) -> int:
    """The sum of the upper bounds of all repetitions: a program has at least one instruction for each of them."""
    return sum(int(most or least) for least, most in _REPETITION.findall(text))


def _compiled(text: str) -> str:
    try:
        size = re2.compile(text.encode(), _OPTIONS).programsize
    except re2.error as error:
        reason = error.args[0]
        message = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        return _TOO_LARGE if message.startswith("pattern too large") else f"RE2 rejects it: {message}"
    return _TOO_LARGE if size > MAX_PROGRAM_SIZE else ""


def _automaton(text: str) -> Judgement:
    try:
        return Judgement("", Automaton(parsed(text), MAX_STEPS).steps)
    except TooLargeError:
        return Judgement(_SLOW, MAX_STEPS)
    except TooDeepError:
        return Judgement(_TOO_DEEP)
