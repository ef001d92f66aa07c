"""What the ADS state machine does about responses that Envoy refuses, as transcripts like those of `test_stream`."""

from agent.ir.resources import ResourceName
from agent.waypoint.messages import Request
from support.fakes.ads_playbook import C, E, L, Playbook, R


def test_a_refused_cluster_does_not_hold_routes_back():
    book = Playbook() >> {(C, "bad"): "1", (E, "bad"): "1", (R, "r"): "1"} >> Request(C) << (C, {"bad": "1"})
    book >> Request(R, subscribe=("r",)) << None
    book.nack(C, "bad is bad") << (R, {"r": "1"})


def test_a_new_stream_of_an_old_client_gets_only_what_differs():
    book = Playbook() >> {(C, "a"): "1", (C, "b"): "2"}
    book >> Request(C, initial={"a": "1", "b": "1", "c": "1"}) << (C, {"b": "2"})
    assert book.stream.acknowledged == {ResourceName(C, "a")}
    book.nack(C, "no") << (C, {}, ["c"])
    assert book.stream.acknowledged == {ResourceName(C, "a")}


def test_a_refusal_of_several_is_halved_until_the_bad_one_is_found():
    book = Playbook() >> {(L, "a"): "1", (L, "b"): "1", (L, "c"): "1"} >> Request(L)
    book << (L, {"a": "1", "b": "1", "c": "1"})
    book.nack(L, "b: cannot bind") << (L, {"a": "1"})
    book.ack(L) << (L, {"b": "1", "c": "1"})
    book.nack(L, "b: cannot bind") << (L, {"b": "1"})
    book.nack(L, "b: cannot bind") << (L, {"c": "1"})
    book.ack(L) << None
    assert book.stream.acknowledged == {ResourceName(L, "a"), ResourceName(L, "c")}
    assert book.stream.rejected == {ResourceName(L, "b"): "b: cannot bind"}


def test_what_was_refused_is_not_sent_again_before_it_changes():
    book = Playbook() >> {(R, "a"): "1"} >> Request(R, subscribe=("a",)) << (R, {"a": "1"})
    book.nack(R, "no") << None >> {(R, "a"): "1"} << None >> {(R, "a"): "2"} << (R, {"a": "2"})
    assert book.stream.rejected == {}
    book.ack(R) << None
    assert book.stream.acknowledged == {ResourceName(R, "a")}


def test_halves_leave_out_what_changed_meanwhile():
    book = Playbook() >> {(C, "a"): "1", (C, "b"): "1"} >> Request(C) << (C, {"a": "1", "b": "1"})
    book >> {(C, "a"): "1", (C, "b"): "2"} << None
    book.nack(C, "no") << (C, {"a": "1"})
    book.ack(C) << (C, {"b": "2"})
    book.ack(C) << None
    assert book.stream.acknowledged == {ResourceName(C, "a"), ResourceName(C, "b")}


def test_a_refusal_of_one_is_of_that_one():
    book = Playbook() >> {(R, "a"): "1"} >> Request(R, subscribe=("a",)) << (R, {"a": "1"})
    book.nack(R, "no") << None
    assert book.stream.acknowledged == set()
    assert book.stream.rejected == {ResourceName(R, "a"): "no"}


def test_a_refusal_of_something_older_is_no_refusal_of_what_came_after():
    book = Playbook() >> {(R, "a"): "1"} >> Request(R, subscribe=("a",)) << (R, {"a": "1"})
    book >> {(R, "a"): "2"} << None
    book.nack(R, "no") << (R, {"a": "2"})
    assert book.stream.rejected == {}


def test_what_was_refused_can_be_sent_again_while_it_is_what_shall_be():
    book = Playbook() >> {(L, "l"): "1"} >> Request(L) << (L, {"l": "1"})
    name = ResourceName(L, "l")
    assert book.stream.retry(name) == [], "it may still be taken"
    book.nack(L, "cannot bind") << None
    book.responses = book.stream.retry(name)
    book << (L, {"l": "1"})
    book.nack(L, "cannot bind") << None
    assert book.stream.rejected == {name: "cannot bind"}
    book.responses = book.stream.retry(name)
    book << (L, {"l": "1"})
    book.ack(L) << None
    assert (book.stream.rejected, book.stream.acknowledged) == ({}, {name})
    assert book.stream.retry(name) == []


def test_what_is_no_more_is_not_sent_again():
    book = Playbook() >> {(L, "l"): "1"} >> Request(L) << (L, {"l": "1"})
    book.nack(L, "cannot bind") << None >> {} << (L, {}, ["l"])
    assert book.stream.retry(ResourceName(L, "l")) == []
