"""The alert rules of daemonset/components/prometheus: they ask for metrics that there are."""

import re

import yaml

from support import REPOSITORY


def test_rules_ask_for_metrics_of_the_reference() -> None:
    text = (REPOSITORY / "daemonset/components/prometheus/rules.yaml").read_text()
    rules = [rule for group in yaml.safe_load(text)["spec"]["groups"] for rule in group["rules"]]
    reference = (REPOSITORY / "docs/reference.md").read_text()
    documented = (REPOSITORY / "docs/encryption.md").read_text()
    for rule in rules:
        (metric,) = re.findall(r"weft_[a-z_]+", rule["expr"])
        assert f"`{metric}" in reference
        assert f"`{rule['alert']}`" in documented
        assert set(rule["annotations"]) == {"summary", "description"}
    assert {rule["labels"]["severity"] for rule in rules} == {"critical", "warning"}
