"""Which Envoy is active: the newest that was promoted, and no older one by accident."""

from agent.ir.envoy import Envoy
from agent.waypoint.failover import REMEMBER_SECONDS, Failover

OLD, NEW, NEWEST = (Envoy(number, f"e{number}", f"10.1.1.{number}") for number in (1, 2, 3))
STRANGE = Envoy(9, "strange", "")


def connected(*envoys: Envoy, active: str = "") -> Failover:
    made = Failover(active, (), 0)
    made.connect(envoys, 0)
    return made


def test_the_first_is_active_at_once():
    made = connected(OLD)
    assert (made.active, made.connected, made.standby, made.draining) == (OLD.address, OLD, None, [])


def test_of_several_the_newest_is_active_where_none_was():
    assert connected(NEW, OLD).active == NEW.address


def test_one_that_does_not_say_where_it_is_is_left_alone():
    made = connected(STRANGE)
    assert (made.active, made.newest) == ("", None)


def test_a_newer_one_is_the_standby_and_once_it_is_promoted_the_older_drains():
    made = connected(OLD)
    made.connect([NEW, OLD], 1)
    assert (made.active, made.standby, made.others) == (OLD.address, NEW, (NEW.address,))
    made.promote(NEW)
    assert (made.active, made.standby, made.draining, made.others) == (NEW.address, None, [OLD], (OLD.address,))


def test_the_newest_of_several_is_the_standby():
    made = connected(OLD)
    made.connect([NEWEST, NEW, OLD], 1)
    assert made.standby == NEWEST


def test_after_a_restart_of_the_agent_there_is_no_standby_before_the_active_one_is_seen():
    made = connected(OLD, active=NEW.address)
    seen = (made.active, made.connected, made.standby, made.draining, made.newest)
    assert seen == (NEW.address, None, None, [], OLD)
    made.connect([OLD, NEW], 1)
    assert (made.connected, made.standby, made.draining) == (NEW, None, [OLD])


def test_an_envoy_that_starts_again_at_its_address_has_proved_nothing():
    made = connected(NEW)
    made.prove(NEW, "a/b:80", 20_000)
    again = Envoy(7, NEW.id, NEW.address)
    made.connect([again], 1)
    assert (made.connected, made.standby, made.proved(again), made.proved(NEW)) == (again, None, set(), set())


def test_the_active_one_keeps_its_proofs_while_its_stream_is_broken_and_others_do_not():
    made = connected(OLD)
    made.connect([OLD, NEW], 1)
    for envoy in (OLD, NEW):
        made.prove(envoy, "a/b:80", 20_000)
    made.connect([], 2)
    made.connect([OLD, NEW], 3)
    assert (made.proved(OLD), made.proved(NEW)) == ({"a/b:80"}, set())


def test_proofs_are_taken_back_when_a_listener_left_or_has_another_port():
    made = connected(OLD)
    made.prove(OLD, "left", 20_000)
    made.prove(OLD, "moved", 20_001)
    made.prove(OLD, "kept", 20_002)
    made.keep_proofs({"moved": 20_000, "kept": 20_002})
    assert made.proved(OLD) == {"kept"}


def test_an_address_is_remembered_for_a_while():
    made = Failover(NEW.address, [OLD.address], 10)
    made.connect([NEW], 10 + REMEMBER_SECONDS - 1)
    assert made.others == (OLD.address,)
    made.connect([NEW], 10 + REMEMBER_SECONDS)
    assert made.others == ()
