"""What reaches a terminal or a log is text, whoever wrote it."""

import io
import json
import logging
from typing import Any

import pytest

from agent.cli import output
from agent.ir.access_log import AccessLogEntry
from agent.telemetry.access_log import format_line
from agent.telemetry.escape import escape, escape_lines
from agent.telemetry.log import KeyValueFormatter
from support.terminal import ESCAPED, HOSTILE, unsafe


def test_what_a_terminal_obeys_is_spelled_out() -> None:
    assert escape(HOSTILE + "\n") == ESCAPED + "\\n"
    assert escape_lines(f"{HOSTILE}\n{HOSTILE}") == f"{ESCAPED}\n{ESCAPED}"
    assert escape("zażółć 漢字 → 🙂 [a] \\") == "zażółć 漢字 → 🙂 [a] \\"
    assert escape("\ud800") == "\\ud800"


def test_every_control_character_is_escaped() -> None:
    every = "".join(
        map(chr, [*range(0x20), *range(0x7F, 0xA0), 0x061C, *range(0x2028, 0x202F), *range(0x2066, 0x206A)])
    )
    assert unsafe(escape(every)) == []
    assert json.loads(f'"{escape(every)}"') == every


def printed(capsys: pytest.CaptureFixture[str]) -> str:
    return "".join(capsys.readouterr())


def test_lines_and_tables_are_literal(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_line(HOSTILE, heading=HOSTILE)
    output.print_table("t", ("C", "D"), [(HOSTILE + "\n", (HOSTILE, "second"))])
    text = printed(capsys)
    assert unsafe(text) == []
    assert text.count(ESCAPED) == 4
    assert f"{ESCAPED}\\n" in text


def test_a_document_stays_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    value: Any = {HOSTILE: [HOSTILE, "\n", "\ud800"]}
    output.print_json(value)
    output.print_json_line(value)
    text = printed(capsys)
    assert unsafe(text) == []
    pretty, compact = text.rpartition("}\n")[0].rpartition("}\n")[0] + "}", text.splitlines()[-1]
    assert json.loads(pretty) == json.loads(compact) == value


def test_errors_are_literal(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        output.fail(f"{HOSTILE}\nmore")
    assert printed(capsys) == f"weft: {ESCAPED}\nmore\n"


def test_a_log_line_is_one_line() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(KeyValueFormatter())
    logger = logging.Logger("hostile")
    logger.addHandler(handler)
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        logger.exception(HOSTILE + "\n", extra={"object": HOSTILE + ' level="x" \\'})
    text = stream.getvalue()
    assert (unsafe(text), text.count("\n")) == ([], 1)
    assert f'object="{ESCAPED} level=\\"x\\" \\\\"' in text


def test_an_access_log_line_is_one_line() -> None:
    item = exchange(path=HOSTILE, user_agent=HOSTILE)
    text = format_line(item, None, None).decode()
    assert (unsafe(text), text.count("\n")) == ([], 1)
    assert (json.loads(text)["path"], json.loads(text)["userAgent"]) == (HOSTILE, HOSTILE)


def exchange(**fields: str) -> AccessLogEntry:
    """A request of which everything else is empty."""
    names = AccessLogEntry.__annotations__
    empty: dict[Any, Any] = {str: "", int: 0, float: 0.0, bool: False}
    return AccessLogEntry(**({name: empty.get(kind, ()) for name, kind in names.items()} | fields))
