"""The table of features is what the tests show, and no row of it is empty."""

import pytest
from features import ROWS, TABLE, Shown, golden_claims, means, node_claims, shown, table


@pytest.mark.parametrize("item", shown(), ids=lambda item: item.row)
def test_every_feature_has_a_golden_case_and_a_node_test(item: Shown) -> None:
    assert item.goldens
    assert item.tests


def test_what_tests_show_are_features() -> None:
    claims = {claim for claim, _ in (*golden_claims(), *node_claims())}
    assert {claim for claim in claims if not any(means(claim, row) for row in ROWS)} == set()


def test_the_page_is_up_to_date() -> None:
    assert TABLE.read_text() == table(), "make features"
