"""Escapes text before it reaches a terminal or a log: names, annotations and paths come from untrusted users."""

import re

# C0, DEL and C1 controls; the marks, embeddings, overrides and isolates of Unicode's bidirectional algorithm (UAX #9,
# section 2); line and paragraph separators; the byte order mark; surrogates, which cannot be encoded.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def escape(text: str) -> str:
    """The text on one line. Control characters become escapes such as `\\n` and `\\u001b`.

    The escapes are those of JSON, so JSON on one line remains the same document.
    """
    return _UNSAFE.sub(_escaped, text)


def escape_lines(text: str) -> str:
    """Like `escape`, but keeps line breaks."""
    return "\n".join(map(escape, text.split("\n")))


def _escaped(found: re.Match[str]) -> str:
    return _SHORT.get(found[0]) or f"\\u{ord(found[0]):04x}"
