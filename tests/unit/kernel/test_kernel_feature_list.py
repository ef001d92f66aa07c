"""What is said of kernel features; tests/datapath/test_kernel_features.py tries them."""

import re
from pathlib import Path

import pytest

from agent.kernel.features import FEATURES, SK_LOOKUP, document, named, presence, requirement

DESIGN = Path(__file__).parents[3] / "bpf" / "DESIGN.md"


def test_nothing_is_required_where_only_optional_features_are_missing() -> None:
    assert requirement(feature for feature in FEATURES if feature.without) == ""


def test_the_newest_kernel_that_is_needed_is_named() -> None:
    message = requirement(named(["cgroup links", "BPF_F_MMAPABLE", "bpf_get_socket_cookie", SK_LOOKUP]))
    listed = "bpf_get_socket_cookie (Linux 4.18), BPF_F_MMAPABLE (Linux 5.5), cgroup links (Linux 5.7)"
    assert message.endswith(f"lacks what weft needs: {listed}; Linux 5.7 has all of it")


def test_versions_are_compared_as_numbers() -> None:
    assert requirement(named(["bpf_get_socket_cookie", "sock_ops hook"])).endswith("Linux 4.18 has all of it")


def test_a_name_that_no_feature_has_is_refused() -> None:
    with pytest.raises(ValueError, match="no kernel feature has this name: bpf_teleport"):
        named(["bpf_teleport", SK_LOOKUP])


def test_the_document_says_what_is_done_without() -> None:
    (shown,) = document(named([SK_LOOKUP]))["missing"]
    assert (shown["feature"], shown["since"]) == (SK_LOOKUP, "5.9")
    assert "Envoy" in shown["without"]


def test_presence_is_of_what_can_be_missing() -> None:
    shown = presence(named([SK_LOOKUP]))
    assert shown.keys() == {feature.name for feature in FEATURES if feature.without}
    assert [name for name, there in shown.items() if not there] == [SK_LOOKUP]


def test_the_design_has_every_feature_with_its_kernel() -> None:
    rows = re.findall(r"^\| (.+?) \| (\d.*?) \| .+ \| (.+) \|$", DESIGN.read_text(), re.MULTILINE)
    written = {name.strip("`"): (since, fate != "the agent does not start") for name, since, fate in rows}
    del written["the hook of each program of the kubepods cgroup"]
    plain = [feature for feature in FEATURES if not feature.name.endswith(" hook")]
    assert written == {feature.name: (feature.since, bool(feature.without)) for feature in plain}
