"""Text with terminal control sequences, and a check that none of them was printed."""

import re

# Rich's markup, an escape sequence, a C1 control, DEL, a bidirectional override and isolate, a carriage return, a tab.
HOSTILE = "[/x][red][link=http://h]\x1b[2J\x9b31m\x7f\u202e\u2066\r\t\x07\x00:smile:"
ESCAPED = r"[/x][red][link=http://h]\u001b[2J\u009b31m\u007f\u202e\u2066\r\t\u0007\u0000:smile:"
_UNSAFE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def unsafe(text: str) -> list[str]:
    """The positions of control sequences in a text, with the text before them."""
    return [repr(text[max(0, found.start() - 30) : found.end()]) for found in _UNSAFE.finditer(text)]
