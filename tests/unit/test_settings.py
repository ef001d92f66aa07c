"""What the agent finds out for itself at start."""

import pytest

from agent.settings import SettingsError, parse_cidrs, parse_collector, parse_endpoint
from agent.translate.options import Collector


@pytest.mark.parametrize(("text", "expected"), [("127.0.0.1:9464", ("127.0.0.1", 9464)), ("[::1]:0", ("::1", 0))])
def test_endpoints(text: str, expected: tuple[str, int]):
    assert parse_endpoint(text) == expected


@pytest.mark.parametrize("text", ["", "9464", ":9464", "a:b", "a:65536"])
def test_what_is_no_endpoint(text: str):
    with pytest.raises(SettingsError, match="HOST:PORT"):
        parse_endpoint(text)


def test_a_collector():
    assert parse_collector(None, 1) is None
    assert parse_collector("[fd00::1]:4317", 0.5) == Collector("fd00::1", 4317, 0.5)


@pytest.mark.parametrize("text", ["otel", "otel:0", "otel:99999"])
def test_what_is_no_collector(text: str):
    with pytest.raises(SettingsError, match="--otlp-endpoint: "):
        parse_collector(text, 1)


def test_ranges_of_imports_are_read_and_what_is_none_is_named():
    assert [str(found) for found in parse_cidrs(["243.0.0.0/8", "fd00:243::/32"])] == ["243.0.0.0/8", "fd00:243::/32"]
    for text in ("243.0.0.1/8", "243.0.0.0/33", "here", ""):
        with pytest.raises(SettingsError, match="--clusterset-cidr: "):
            parse_cidrs([text])
