"""Which TLSRoute takes a connection: as Envoy's filter chains are chosen (tests/node/test_waypoint_tls.py)."""

import pytest

from agent.explain.matching import rule_for
from agent.ir.http import TLSListenerIR, TLSRule

RULES = (
    TLSRule("app/exact/0", ("a.b.example", "other.example"), ()),
    TLSRule("app/long/0", ("*.b.example",), ()),
    TLSRule("app/short/0", ("*.example",), ()),
)
REST = TLSRule("app/rest/0", (), ())


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("a.b.example", "app/exact/0"),
        ("A.B.Example", "app/exact/0"),
        ("x.b.example", "app/long/0"),
        ("x.y.b.example", "app/long/0"),
        ("b.example", "app/short/0"),
        ("x.example", "app/short/0"),
        ("example", None),
        ("xexample", None),
        ("", None),
    ],
)
def test_the_exact_name_then_the_longest_that_fits(name: str, rule: str | None) -> None:
    found = rule_for(TLSListenerIR("app/tls:443", "", RULES), name)
    assert (found.name if found else None) == rule
    rest = rule_for(TLSListenerIR("app/tls:443", "", (*RULES, REST)), name)
    assert rest is not None
    assert rest.name == (rule or REST.name)
