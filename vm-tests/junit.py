"""Reports of tests as JUnit's XML: what guests write, and one file for all of them."""

from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree


@dataclass(frozen=True, slots=True)
class Outcome:
    """One test. `message` is empty when it passed; `seconds` are of the clock where it ran."""

    name: str
    message: str = ""
    skipped: bool = False
    seconds: float = 0.0


def parse(text: bytes) -> list[Outcome]:
    """The tests of a report by pytest, in order."""
    return [_outcome(case) for case in ElementTree.fromstring(text).iter("testcase")]


def _outcome(case: ElementTree.Element) -> Outcome:
    name, seconds = f"{case.get('classname', '')}.{case.get('name', '')}", float(case.get("time", 0))
    for element in case:
        if element.tag in ("failure", "error"):
            return Outcome(name, element.text or element.get("message") or element.tag, seconds=seconds)
        if element.tag == "skipped":
            return Outcome(name, element.get("message") or "skipped", skipped=True, seconds=seconds)
    return Outcome(name, seconds=seconds)


def write(path: Path, suites: dict[str, list[Outcome]]) -> None:
    """One file with a suite of each name."""
    top = ElementTree.Element("testsuites")
    for name, outcomes in suites.items():
        failures = sum(bool(outcome.message) for outcome in outcomes)
        suite = ElementTree.SubElement(top, "testsuite", name=name, tests=str(len(outcomes)), failures=str(failures))
        for outcome in outcomes:
            attributes = {"classname": name, "name": outcome.name, "time": f"{outcome.seconds:.3f}"}
            case = ElementTree.SubElement(suite, "testcase", attributes)
            if outcome.message:
                failure = ElementTree.SubElement(case, "failure", message=outcome.message.strip().splitlines()[-1])
                failure.text = outcome.message
    ElementTree.ElementTree(top).write(path, encoding="utf-8", xml_declaration=True)
