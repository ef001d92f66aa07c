"""Regular expressions, judged by Envoy's own engine: one bad one would make it refuse a whole route table."""

import re2

MAX_LENGTH = 1024

_OPTIONS = re2.Options()
_OPTIONS.log_errors = False


def regex_fault(text: str) -> str:
    """Why RE2 does not take an expression, empty when it does."""
    if len(text) > MAX_LENGTH:
        return f"{len(text)} characters are more than {MAX_LENGTH}"
    try:
        re2.compile(text, _OPTIONS)
    except re2.error as error:
        reason = error.args[0]
        return f"RE2 does not take it: {reason.decode(errors='replace') if isinstance(reason, bytes) else reason}"
    return ""
