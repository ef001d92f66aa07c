"""Which Envoy serves: the newest that has taken over, and nobody goes back by accident."""

from agent.plan.envoys import Envoy
from agent.reconcile.succession import REMEMBER_SECONDS, Succession

OLD, NEW, NEWEST = (Envoy(number, f"e{number}", f"10.1.1.{number}") for number in (1, 2, 3))
STRANGE = Envoy(9, "strange", "")


def seeing(*envoys: Envoy, serving: str = "") -> Succession:
    made = Succession()
    made.adopt(serving, (), 0)
    made.see(envoys, 0)
    return made


def test_the_first_serves_at_once():
    made = seeing(OLD)
    assert (made.serving, made.present, made.heir, made.retired) == (OLD.address, OLD, None, [])


def test_of_several_the_newest_serves_where_nobody_did():
    assert seeing(NEW, OLD).serving == NEW.address


def test_one_that_does_not_say_where_it_is_is_left_alone():
    made = seeing(STRANGE)
    assert (made.serving, made.newest) == ("", None)


def test_a_newer_one_is_the_heir_and_then_the_older_is_retired():
    made = seeing(OLD)
    made.see([NEW, OLD], 1)
    assert (made.serving, made.heir, made.beside()) == (OLD.address, NEW, [NEW.address])
    made.take_over(NEW)
    assert (made.serving, made.heir, made.retired, made.beside()) == (NEW.address, None, [OLD], [OLD.address])


def test_the_newest_of_several_is_the_heir():
    made = seeing(OLD)
    made.see([NEWEST, NEW, OLD], 1)
    assert made.heir == NEWEST


def test_after_a_restart_of_the_agent_nobody_is_the_heir_before_the_one_that_serves_is_seen():
    made = seeing(OLD, serving=NEW.address)
    assert (made.serving, made.present, made.heir, made.retired, made.newest) == (NEW.address, None, None, [], OLD)
    made.see([OLD, NEW], 1)
    assert (made.present, made.heir, made.retired) == (NEW, None, [OLD])


def test_an_envoy_that_starts_again_at_its_address_serves_on():
    made = seeing(NEW)
    again = Envoy(7, NEW.id, NEW.address)
    made.see([again], 1)
    assert (made.present, made.heir, made.proved) == (again, None, {again: set()})


def test_an_address_is_remembered_for_a_while():
    made = Succession()
    made.adopt(NEW.address, [OLD.address], 10)
    made.see([NEW], 10 + REMEMBER_SECONDS - 1)
    assert made.beside() == [OLD.address]
    made.see([NEW], 10 + REMEMBER_SECONDS)
    assert made.beside() == []
