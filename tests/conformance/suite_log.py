"""What the conformance suite's log says: verdicts, how many answers each proof took, how soon Routes had effect."""

import re
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta

_LINE = re.compile(
    r"^=== (?:RUN|CONT|NAME) +(?P<test>\S+)$"
    r"|^ +apply\.go:\d+: (?P<created>\S+): Creating \S+ \w+Route$"
    r"|^ +pod\.go:\d+: (?P<answered>\S+): Got resp",
    re.MULTILINE,
)


def verdicts(log: str) -> dict[str, str]:
    """PASS or FAIL by the name of the test, without those of features that are not claimed.

    Raises ValueError when the suite did not come to run any.
    """
    found = re.findall(r"^    --- (PASS|FAIL): TestConformance/(\w+) ", log, re.MULTILINE)
    if not found:
        raise ValueError(f"the suite ran no test; the end of its log:\n{log[-2000:]}")
    return {test: verdict for verdict, test in sorted(found, key=lambda pair: pair[1])}


def fewest_answers(log: str) -> int:
    """How many answers the least of the proofs of what passed took.

    The suite ignores an override of its settings that it cannot read, and says nothing: this is how one knows.
    """
    return min(len(times) for _, times in _proofs(log))


def effects(log: str) -> Iterator[timedelta]:
    """How long after a Route was made each first proof of it began its row of right answers.

    Each is an upper bound: it contains the start of a program in a pod, by which the suite asks.
    """
    consecutive = fewest_answers(log)
    begins: dict[datetime, list[datetime]] = defaultdict(list)
    for created, times in _proofs(log):
        if created:
            begins[created].append(times[-consecutive])
    for created, found in begins.items():
        yield min(found) - created


def _proofs(log: str) -> list[tuple[datetime | None, list[datetime]]]:
    """Of each subtest that asked: when the last Route before it was made, and when each answer came.

    Those of tests that passed: what failed proves nothing, whatever it asked.
    """
    passed = {test for test, verdict in verdicts(log).items() if verdict == "PASS"}
    test, created = "", None
    proofs: dict[str, tuple[datetime | None, list[datetime]]] = {}
    for line in _LINE.finditer(log):
        if line["test"]:
            test = line["test"]
        elif line["created"]:
            created = _time(line["created"])
        elif test.split("/")[1] in passed:
            proofs.setdefault(test, (created, []))[1].append(_time(line["answered"]))
    return list(proofs.values())


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
