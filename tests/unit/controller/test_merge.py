"""What is stored and what is wanted, merged."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from agent.controller.merge import ANCESTORS, MAX_MESSAGE, PARENTS, merge_conditions, merge_entries
from agent.ir.plan import Condition, ParentStatus
from agent.model.meta import CONTROLLER_NAME
from agent.model.routes import ParentReference

THEN, NOW = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"
OURS = frozenset({"Accepted", "ResolvedRefs", "PartiallyInvalid"})


def condition(status: bool = True, reason: str = "Accepted", message: str = "", generation: int = 1) -> Condition:
    return Condition("Accepted", status, reason, message, generation)


def wanted(name: str = "web", *conditions: Condition, **more: Any) -> ParentStatus:
    ref = ParentReference(name, "", "Service", **more)
    return ParentStatus(ref, conditions or (condition(),))


def foreign(name: str = "gateway") -> dict[str, Any]:
    return {
        "controllerName": "example.org/gateway",
        "parentRef": {"name": name},
        "conditions": [{"type": "Accepted", "status": "False", "x": 1}],
    }


def test_a_first_entry():
    (entry,) = merge_entries(PARENTS, [], [wanted("web", condition(message="m"), port=80)], NOW)
    assert entry == {
        "controllerName": CONTROLLER_NAME,
        "parentRef": {"group": "", "kind": "Service", "name": "web", "port": 80},
        "conditions": [
            {
                "type": "Accepted",
                "status": "True",
                "reason": "Accepted",
                "message": "m",
                "observedGeneration": 1,
                "lastTransitionTime": NOW,
            }
        ],
    }


def test_nothing_new_is_nothing_to_write():
    stored = merge_entries(PARENTS, [foreign()], [wanted()], THEN)
    assert merge_entries(PARENTS, stored, [wanted()], NOW) == stored


def test_time_moves_with_the_status_only():
    stored = merge_entries(PARENTS, [], [wanted()], THEN)
    entries = merge_entries(PARENTS, stored, [wanted("web", condition(message="other", generation=2))], NOW)
    changed = entries[0]["conditions"][0]
    assert (changed["message"], changed["observedGeneration"], changed["lastTransitionTime"]) == ("other", 2, THEN)
    refused = merge_entries(PARENTS, entries, [wanted("web", condition(False, "NoMatchingParent", generation=2))], NOW)
    assert (refused[0]["conditions"][0]["status"], refused[0]["conditions"][0]["lastTransitionTime"]) == ("False", NOW)


def test_foreign_entries_and_their_place_stay():
    stored = [foreign("a"), *merge_entries(PARENTS, [], [wanted()], THEN), foreign("b")]
    merged = merge_entries(PARENTS, stored, [wanted("web", condition(False, "X")), wanted("new")], NOW)
    assert (merged[0], merged[2]) == (stored[0], stored[2])
    assert [entry["parentRef"]["name"] for entry in merged] == ["a", "web", "b", "new"]
    assert merge_entries(PARENTS, stored, [], NOW) == [stored[0], stored[2]]


def test_another_controller_s_entry_for_the_same_parent_is_not_ours():
    stored = [foreign() | {"parentRef": {"group": "", "kind": "Service", "name": "web"}}]
    merged = merge_entries(PARENTS, stored, [wanted()], NOW)
    assert (merged[0], len(merged)) == (stored[0], 2)


def test_foreign_conditions_in_our_entry_stay_and_ours_that_are_over_go():
    stored = merge_entries(PARENTS, [], [wanted()], THEN)
    stored[0]["conditions"] += [
        {"type": "example.org/Seen", "status": "True"},
        {"type": "PartiallyInvalid", "status": "True"},
    ]
    (entry,) = merge_entries(PARENTS, stored, [wanted()], NOW)
    assert [item["type"] for item in entry["conditions"]] == ["Accepted", "example.org/Seen"]


def test_one_service_by_two_ports_is_two_entries():
    merged = merge_entries(PARENTS, [], [wanted(port=80), wanted(port=81)], NOW)
    assert merge_entries(PARENTS, merged, [wanted(port=81)], NOW) == [merged[1]]


def test_a_parent_is_the_same_with_its_defaults_written_or_not():
    stored = merge_entries(PARENTS, [], [wanted()], THEN)
    stored[0]["parentRef"] |= {"namespace": None}
    assert merge_entries(PARENTS, stored, [wanted()], NOW) == stored


def test_what_a_newer_generation_was_told_stays():
    stored = merge_entries(PARENTS, [], [wanted("web", condition(generation=5))], THEN)
    assert merge_entries(PARENTS, stored, [wanted("web", condition(False, "X", generation=4))], NOW) == stored


def test_the_schema_s_limits_are_kept():
    stored = [foreign(f"f{number}") for number in range(PARENTS.most)]
    assert merge_entries(PARENTS, stored, [wanted()], NOW) == stored
    (entry,) = merge_entries(PARENTS, [], [wanted("web", condition(message="x" * 100_000))], NOW)
    assert len(entry["conditions"][0]["message"]) == MAX_MESSAGE


def test_a_status_that_makes_no_sense_is_left_or_replaced():
    hostile: list[Any] = [
        3,
        None,
        {},
        {"controllerName": CONTROLLER_NAME},
        {"controllerName": CONTROLLER_NAME, "parentRef": 1},
    ]
    merged = merge_entries(PARENTS, hostile, [wanted()], NOW)
    assert merged[:3] == hostile[:3]
    assert len(merged) == 4
    broken: list[Any] = [7, {"type": "Accepted", "status": 1, "observedGeneration": "x", "lastTransitionTime": 5}]
    (item,) = merge_conditions(broken, [condition()], OURS, NOW)
    assert (item["status"], item["observedGeneration"], item["lastTransitionTime"]) == ("True", 1, NOW)


names = st.sampled_from(["a", "b", "c"])
statuses = st.lists(
    st.builds(
        lambda name, good, text: wanted(name, condition(good, "R", text)), names, st.booleans(), st.text(max_size=2)
    ),
    unique_by=lambda status: status.parent_ref,
    max_size=3,
)


@given(st.lists(st.builds(foreign, names), max_size=2), statuses, statuses)
def test_merging_is_done_once_and_says_what_is_wanted(others, before, after):
    stored = merge_entries(PARENTS, others, before, THEN)
    merged = merge_entries(PARENTS, stored, after, NOW)
    assert merge_entries(PARENTS, merged, after, "2026-01-03T00:00:00Z") == merged
    assert [entry for entry in merged if entry in others] == others
    ours = {entry["parentRef"]["name"] for entry in merged if entry["controllerName"] == CONTROLLER_NAME}
    assert ours == {status.parent_ref.name for status in after}


def test_a_policy_s_ancestors_are_merged_as_a_route_s_parents_are():
    other = {"controllerName": "example.org/gateway", "ancestorRef": {"name": "gateway"}, "conditions": []}
    entries = merge_entries(ANCESTORS, [other], [wanted("web", port=80)], THEN)
    assert entries[0] == other
    assert entries[1]["ancestorRef"] == {"group": "", "kind": "Service", "name": "web", "port": 80}
    assert "parentRef" not in entries[1]
    assert merge_entries(ANCESTORS, entries, [wanted("web", port=80)], NOW) == entries
    assert merge_entries(ANCESTORS, entries, [], NOW) == [other]
    many = [wanted(f"web{number}") for number in range(20)]
    assert len(merge_entries(ANCESTORS, entries, many, NOW)) == ANCESTORS.most == 16
