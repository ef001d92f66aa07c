"""What namespaces use of what they share: as metrics with a bounded number of series, and as a document."""

from agent.budget import Budget
from agent.cli.budgets import budget_table
from agent.telemetry.budgets import MAX_NAMESPACES, document
from agent.telemetry.metrics import Metrics


def shown(*budgets: Budget) -> dict[str, float]:
    metrics = Metrics("0", dict)
    metrics.register_budgets(lambda: budgets)
    lines = [line for line in metrics.render().splitlines() if line.startswith("weft_budget")]
    assert len({line.split()[0] for line in lines}) == len(lines), "each series is there once"
    return {line.split()[0]: float(line.split()[1]) for line in lines}


def test_the_use_by_namespace_and_the_capacity_are_shown():
    assert shown(Budget("slots", 100, {"shop": 7, "cart": 2}), Budget("listeners", 4)) == {
        'weft_budget_used{namespace="shop",resource="slots"}': 7,
        'weft_budget_used{namespace="cart",resource="slots"}': 2,
        'weft_budget_used{namespace="other",resource="slots"}': 0,
        'weft_budget_used{namespace="other",resource="listeners"}': 0,
        'weft_budget_capacity{resource="slots"}': 100,
        'weft_budget_capacity{resource="listeners"}': 4,
    }


def test_namespaces_that_use_little_are_other():
    many = {f"n{number}": number + 1 for number in range(MAX_NAMESPACES + 5)}
    found = shown(Budget("slots", 10_000, many))
    used = [value for name, value in found.items() if name.startswith("weft_budget_used")]
    assert (len(used), sum(used)) == (MAX_NAMESPACES + 1, sum(many.values()))
    assert found['weft_budget_used{namespace="other",resource="slots"}'] == 1 + 2 + 3 + 4 + 5


def test_a_namespace_called_other_and_unknown_owners_are_other():
    found = shown(Budget("slots", 100, {"other": 9, "": 4, "shop": 1}))
    assert found['weft_budget_used{namespace="other",resource="slots"}'] == 13
    assert found['weft_budget_used{namespace="shop",resource="slots"}'] == 1


def test_the_document_has_the_limits_and_what_is_refused():
    budgets = Budget("slots", 100, {"shop": 7, "cart": 40}), Budget("listeners", 4)
    rows = document(budgets, {("slots", "shop"): 3, ("listeners", "evil"): 2})
    assert [(row["resource"], row["namespace"], row["used"], row["limit"], row["rejected"]) for row in rows] == [
        ("listeners", "evil", 0, 2, 2),
        ("slots", "cart", 40, 46, 0),
        ("slots", "shop", 7, 30, 3),
    ]


def test_people_see_a_table_in_that_order():
    found = budget_table(document([Budget("slots", 100, {"shop": 7, "": 40})], {("slots", "shop"): 3}))
    columns = {str(column.header): list(map(str, column.cells)) for column in found.columns}
    assert columns == {
        "RESOURCE": ["slots", "slots"],
        "NAMESPACE": ["(unknown)", "shop"],
        "USED": ["40", "7"],
        "LIMIT": ["46", "30"],
        "CAPACITY": ["100", "100"],
        "REJECTED": ["0", "3"],
    }
