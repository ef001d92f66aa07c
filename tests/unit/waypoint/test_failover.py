"""Which Envoy is active: the newest that was promoted, and no older one by accident."""

from agent.ir.addresses import Addresses, Family
from agent.ir.envoy import Envoy
from agent.waypoint.failover import REMEMBER_SECONDS, Failover

OLD, NEW, NEWEST = (Envoy(number, f"e{number}", Addresses(f"10.1.1.{number}")) for number in (1, 2, 3))
NOWHERE = Addresses()
STRANGE = Envoy(9, "strange", NOWHERE)


def connected(*envoys: Envoy, active: Addresses = NOWHERE) -> Failover:
    made = Failover(active, (), 0)
    made.connect(envoys, 0)
    return made


def test_the_first_is_active_at_once():
    made = connected(OLD)
    assert (made.active, made.connected, made.standby, made.draining) == (OLD.addresses, OLD, None, [])


def test_of_several_the_newest_is_active_where_none_was():
    assert connected(NEW, OLD).active == NEW.addresses


def test_one_that_does_not_say_where_it_is_is_left_alone():
    made = connected(STRANGE)
    assert (made.active, made.newest) == (NOWHERE, None)


def test_a_newer_one_is_the_standby_and_once_it_is_promoted_the_older_drains():
    made = connected(OLD)
    made.connect([NEW, OLD], 1)
    assert (made.active, made.standby, made.others) == (OLD.addresses, NEW, (NEW.addresses.ipv4,))
    made.promote(NEW)
    assert (made.active, made.standby, made.draining, made.others) == (
        NEW.addresses,
        None,
        [OLD],
        (OLD.addresses.ipv4,),
    )


def test_the_newest_of_several_is_the_standby():
    made = connected(OLD)
    made.connect([NEWEST, NEW, OLD], 1)
    assert made.standby == NEWEST


def test_after_a_restart_of_the_agent_there_is_no_standby_before_the_active_one_is_seen():
    made = connected(OLD, active=NEW.addresses)
    seen = (made.active, made.connected, made.standby, made.draining, made.newest)
    assert seen == (NEW.addresses, None, None, [], OLD)
    made.connect([OLD, NEW], 1)
    assert (made.connected, made.standby, made.draining) == (NEW, None, [OLD])


def test_an_envoy_that_starts_again_at_its_address_has_proved_nothing():
    made = connected(NEW)
    made.record_accepted(NEW, "a/b:80", 20_000, NEW.addresses.ipv4)
    again = Envoy(7, NEW.id, NEW.addresses)
    made.connect([again], 1)
    assert (made.connected, made.standby, made.accepting(again), made.accepting(NEW)) == (again, None, set(), set())


def test_the_active_one_keeps_its_proofs_while_its_stream_is_broken_and_others_do_not():
    made = connected(OLD)
    made.connect([OLD, NEW], 1)
    for envoy in (OLD, NEW):
        made.record_accepted(envoy, "a/b:80", 20_000, envoy.addresses.ipv4)
    made.connect([], 2)
    made.connect([OLD, NEW], 3)
    assert (made.accepting(OLD), made.accepting(NEW)) == ({("a/b:80", Family.IPV4)}, set())


def test_proofs_are_taken_back_when_a_listener_left_or_has_another_port():
    made = connected(OLD)
    made.record_accepted(OLD, "left", 20_000, OLD.addresses.ipv4)
    made.record_accepted(OLD, "moved", 20_001, OLD.addresses.ipv4)
    made.record_accepted(OLD, "kept", 20_002, OLD.addresses.ipv4)
    made.retain_accepted({"moved": 20_000, "kept": 20_002})
    assert made.accepting(OLD) == {("kept", Family.IPV4)}


def test_an_address_is_remembered_for_a_while():
    made = Failover(NEW.addresses, [OLD.addresses.ipv4], 10)
    made.connect([NEW], 10 + REMEMBER_SECONDS - 1)
    assert made.others == (OLD.addresses.ipv4,)
    made.connect([NEW], 10 + REMEMBER_SECONDS)
    assert made.others == ()


def test_the_process_at_the_active_address_is_active_at_all_of_its_addresses():
    """An earlier agent, or an earlier version of the process, knew of one family only."""
    dual = Envoy(5, "dual", Addresses("10.1.1.1", "fd00::1"))
    made = connected(dual, active=OLD.addresses)
    assert (made.active, made.connected, made.draining, made.others) == (dual.addresses, dual, [], ())
    made.record_accepted(dual, "a/b:80", 20_000, "fd00::1")
    assert made.accepting(dual) == {("a/b:80", Family.IPV6)}
    made.connect([], 1)
    assert (made.active, made.absent) == (dual.addresses, False)


def test_an_address_is_forgotten_when_its_deadline_has_come():
    """Not a moment later, which rounding would make of the other way to compare: the loop would not rest until then."""
    seen = 125.00000000000001
    failover = Failover(OLD.addresses, (), seen)
    assert failover.deadline == 130.0
    failover.connect([], 130.0)
    assert failover.deadline is None
