"""The ADS state machine as a transcript: `>>` is what Envoy sends, `<<` the response that it must get."""

from agent.ir.resources import ResourceName
from agent.waypoint.messages import Request
from support.fakes.ads_playbook import C, E, L, Playbook, R, X


def test_nothing_is_said_before_the_first_snapshot():
    Playbook() >> Request(C) << None >> {(C, "a"): "1"} << (C, {"a": "1"})


def test_a_wildcard_is_answered_even_when_there_is_nothing():
    (Playbook() >> {} >> Request(C)) << (C, {}) >> Request(L) << (L, {})


def test_an_acknowledged_version_is_not_sent_again():
    book = Playbook() >> {(C, "a"): "1"} >> Request(C) << (C, {"a": "1"})
    book.ack(C) << None >> {(C, "a"): "1"} << None
    assert book.stream.acknowledged == {ResourceName(C, "a")}
    book >> {(C, "a"): "2"} << (C, {"a": "2"})
    assert book.stream.acknowledged == set()


def test_named_resources_are_sent_when_they_are_asked_for():
    book = Playbook() >> {(E, "a"): "1", (E, "b"): "1"} >> Request(E, subscribe=("a",)) << (E, {"a": "1"})
    book.ack(E) << None >> Request(E, subscribe=("b",)) << (E, {"b": "1"})


def test_a_name_that_there_is_not_is_said_to_be_gone_and_sent_when_it_appears():
    book = Playbook() >> {} >> Request(R, subscribe=("a",)) << (R, {}, ["a"])
    book.ack(R) << None >> {(R, "a"): "1"} << (R, {"a": "1"})


def test_makes_come_before_breaks():
    book = Playbook() >> {(L, "l"): "1", (C, "c"): "1"}
    (book >> Request(C) << (C, {"c": "1"}) >> Request(L) << (L, {"l": "1"})).ack(C) << None
    book.ack(L) << None
    book >> {(C, "d"): "1"} << (C, {"d": "1"}) << (L, {}, ["l"])
    book.ack(C) << (C, {}, ["c"])


def test_a_filter_is_there_until_no_listener_waits_any_more():
    """Of a filter that is gone Envoy has none for the listener that it had."""
    book = Playbook() >> {(L, "l"): "1", (X, "x"): "1", (C, "c"): "1"} >> Request(C) << (C, {"c": "1"})
    book >> Request(L) << (L, {"l": "1"}) >> Request(X, subscribe=("x",)) << (X, {"x": "1"})
    book.ack(C) << None
    book.ack(X) << None
    book.ack(L) << None
    book >> {(L, "l"): "2", (C, "c"): "1"} << (L, {"l": "2"})
    book.ack(L) << (X, {}, ["x"])


def test_a_route_waits_for_its_cluster_and_endpoints_and_the_old_ones_for_the_route():
    old = {(C, "old"): "1", (E, "old"): "1", (R, "r"): "1"}
    new = {(C, "new"): "1", (E, "new"): "1", (R, "r"): "2"}
    book = Playbook() >> old >> Request(C) << (C, {"old": "1"})
    book.ack(C) << None >> Request(E, subscribe=("old",)) << (E, {"old": "1"})
    book >> Request(R, subscribe=("r",)) << None
    book.ack(E) << (R, {"r": "1"})
    book.ack(R) << None
    book >> new << (C, {"new": "1"})
    book.ack(C) << None
    book >> Request(E, subscribe=("new",)) << (E, {"new": "1"})
    book.ack(E) << (R, {"r": "2"})
    book.ack(R) << (E, {}, ["old"]) << (C, {}, ["old"])


def test_of_a_client_that_does_not_answer_one_response_of_each_kind_is_unanswered():
    book = Playbook() >> {(E, "a"): "0"} >> Request(E, subscribe=("a",)) << (E, {"a": "0"})
    for version in range(1, 10_000):
        book >> {(E, "a"): str(version)} << None
    book.ack(E) << (E, {"a": "9999"})
    book.ack(E) << None
    assert book.stream.acknowledged == {ResourceName(E, "a")}


def test_what_came_and_went_before_an_answer_is_not_sent():
    book = Playbook() >> {(C, "a"): "1"} >> Request(C) << (C, {"a": "1"})
    book >> {(C, "a"): "1", (C, "b"): "1"} << None >> {(C, "a"): "2"} << None >> {(C, "a"): "1"} << None
    book.ack(C) << None
    assert book.stream.acknowledged == {ResourceName(C, "a")}


def test_an_answer_lets_removals_go():
    book = Playbook() >> {(L, "a"): "1"} >> Request(L) << (L, {"a": "1"})
    book >> {} << None
    book.ack(L) << (L, {}, ["a"])


def test_a_listener_waits_for_its_turn_behind_the_extensions_and_a_route_behind_the_listeners():
    book = Playbook() >> {(X, "x"): "1", (L, "l"): "1", (R, "elsewhere"): "1"}
    book >> Request(X, subscribe=("x",)) << (X, {"x": "1"}) >> Request(L) << (L, {"l": "1"})
    book >> Request(R, subscribe=("elsewhere",)) << (R, {"elsewhere": "1"})
    listener, route = book.last[L], book.last[R]
    book >> {(X, "x"): "2", (L, "l"): "2", (R, "elsewhere"): "2"} << None
    book >> Request(L, nonce=listener) << None >> Request(R, nonce=route) << None
    book.ack(X) << (X, {"x": "2"}) << (L, {"l": "2"}) << (R, {"elsewhere": "2"})


def test_endpoints_do_not_wait_for_the_answer_to_their_cluster():
    """Envoy answers when the cluster is warm, and it is warm when it has its endpoints."""
    book = Playbook() >> {(C, "a"): "1", (E, "a"): "1"} >> Request(C) << (C, {"a": "1"})
    book >> Request(E, subscribe=("a",)) << (E, {"a": "1"})


def test_a_client_that_comes_back_with_everything_is_told_nothing():
    book = Playbook() >> {(C, "a"): "1", (R, "r"): "1"} >> Request(C, initial={"a": "1"}) << None
    book >> Request(R, subscribe=("r",), initial={"r": "1"}) << None
    assert book.stream.acknowledged == {ResourceName(C, "a"), ResourceName(R, "r")}


def test_a_client_from_before_loses_nothing_until_there_is_a_snapshot():
    book = Playbook() >> Request(C, initial={"a": "1"}) << None
    book >> {} << (C, {}, ["a"])


def test_an_answer_to_something_older_does_not_count_for_what_came_after():
    book = Playbook() >> {(C, "a"): "1"} >> Request(C) << (C, {"a": "1"})
    book >> {(C, "a"): "2"} << None
    book.ack(C) << (C, {"a": "2"})
    assert book.stream.acknowledged == set()
    book.ack(C) << None
    assert book.stream.acknowledged == {ResourceName(C, "a")}


def test_an_unknown_nonce_is_ignored():
    Playbook() >> {(C, "a"): "1"} >> Request(C, nonce="99") << (C, {"a": "1"})


def test_what_is_no_longer_subscribed_is_no_longer_sent():
    book = Playbook() >> {(E, "a"): "1"} >> Request(E, subscribe=("a",)) << (E, {"a": "1"})
    book >> Request(E, unsubscribe=("a",)) << None >> {(E, "a"): "2"} << None
    book >> {} << None


def test_asking_again_for_a_name_sends_it_again():
    book = Playbook() >> {(E, "a"): "1"} >> Request(E, subscribe=("a",)) << (E, {"a": "1"})
    book.ack(E) << None >> Request(E, subscribe=("a",)) << (E, {"a": "1"})


def test_a_changed_cluster_is_followed_by_its_endpoints():
    book = Playbook() >> {(C, "a"): "1", (E, "a"): "1"} >> Request(C) << (C, {"a": "1"})
    book.ack(C) << None >> Request(E, subscribe=("a",)) << (E, {"a": "1"})
    book.ack(E) << None
    book >> {(C, "a"): "2", (E, "a"): "1"} << (C, {"a": "2"}) << (E, {"a": "1"})
    book.ack(C) << None
    assert book.stream.acknowledged == {ResourceName(C, "a")}
    book.ack(E) << None
    assert book.stream.acknowledged == {ResourceName(C, "a"), ResourceName(E, "a")}


def test_a_cluster_that_changed_while_there_was_no_agent_is_followed_by_its_endpoints():
    book = Playbook() >> {(C, "a"): "2", (E, "a"): "1", (C, "b"): "1", (E, "b"): "1"}
    book >> Request(C, initial={"a": "1", "b": "1"}) << (C, {"a": "2"})
    book >> Request(E, subscribe=("a", "b"), initial={"a": "1", "b": "1"}) << (E, {"a": "1"})


def test_endpoints_without_a_cluster_hold_nothing_up():
    book = Playbook() >> {(C, "a"): "1", (E, "a"): "1", (E, "orphan"): "1", (R, "r"): "1"}
    book >> Request(C) << (C, {"a": "1"})
    book.ack(C) << None >> Request(R, subscribe=("r",)) << None
    book >> Request(E, subscribe=("a",)) << (E, {"a": "1"})
    book.ack(E) << (R, {"r": "1"})


def test_a_route_table_waits_for_its_own_clusters_only():
    book = Playbook() >> {(C, "a"): "1", (E, "a"): "1", (R, "r"): "1", (R, "elsewhere"): "1"}
    book >> Request(C) << (C, {"a": "1"}) >> Request(R, subscribe=("r", "elsewhere")) << (R, {"elsewhere": "1"})
    book.ack(C) << None >> Request(E, subscribe=("a",)) << (E, {"a": "1"})
    book.ack(E) << None
    book.ack(R) << (R, {"r": "1"})


def test_a_listener_that_names_a_cluster_waits_for_it():
    book = Playbook() >> {(C, "a"): "1", (E, "a"): "1", (L, "bytes"): "1", (L, "http"): "1"}
    book >> Request(C) << (C, {"a": "1"}) >> Request(L) << (L, {"http": "1"})
    book.ack(C) << None >> Request(E, subscribe=("a",)) << (E, {"a": "1"})
    book.ack(E) << None
    book.ack(L) << (L, {"bytes": "1"})


def test_a_listener_that_waits_does_not_let_the_client_wait():
    book = Playbook() >> {(C, "a"): "1", (E, "a"): "1", (L, "bytes"): "1"} >> Request(C) << (C, {"a": "1"})
    book >> Request(L) << (L, {})


def test_what_the_client_lost_is_sent_again_and_what_it_kept_is_removed():
    book = Playbook() >> {(L, "a"): "1", (L, "b"): "1"} >> Request(L) << (L, {"a": "1", "b": "1"})
    book.ack(L) << None
    lost, kept = ResourceName(L, "a"), ResourceName(L, "c")
    assert book.stream.sent == book.stream.acknowledged == {lost, ResourceName(L, "b")}
    book.responses = book.stream.resync([lost], [])
    book << (L, {"a": "1"})
    assert lost not in book.stream.acknowledged
    book.ack(L) << None
    book.responses = book.stream.resync([], [kept])
    book << (L, {}, ["c"])
    assert kept in book.stream.sent, "it may have it until it answers"
    book.ack(L) << None
    assert book.stream.sent == book.stream.acknowledged == {lost, ResourceName(L, "b")}


def test_what_is_too_much_for_one_response_follows_when_that_is_answered():
    book = Playbook() >> {(C, f"large{number}"): "1" for number in (1, 2, 3)} >> Request(C) << (C, {"large1": "1"})
    book.ack(C) << (C, {"large2": "1"})
    book.ack(C) << (C, {"large3": "1"})
    book.ack(C) << None
    assert len(book.stream.acknowledged) == 3
