"""What `weft status` says of an attack when its bound is reached."""

from collections.abc import Callable

from support.attacks.attacker import Attacker, Object

Reported = Callable[[Object], bool]


def over_budget(attacker: Attacker, resource: str) -> Reported:
    """A budget refuses something of the namespace."""
    text = f"budget of {resource}: namespace {attacker.namespace} "
    return lambda status: any(text in failure for failure in status["failures"].values())


def conditions(attacker: Attacker, condition: str, reason: str, count: int = 1) -> Reported:
    """So many parents of the namespace's Routes have this condition with this reason, and it is False."""

    def reported(status: Object) -> bool:
        found = [
            item
            for route in status["routes"]
            if route["namespace"] == attacker.namespace
            for parent in route["parents"]
            for item in parent["conditions"]
        ]
        wanted = (condition, reason, "False")
        return [(item["type"], item["reason"], item["status"]) for item in found].count(wanted) >= count

    return reported


def not_accepted(attacker: Attacker, reason: str, count: int = 1) -> Reported:
    """So many parents of the namespace's Routes are not accepted for this reason."""
    return conditions(attacker, "Accepted", reason, count)


def warned(attacker: Attacker, *texts: str) -> Reported:
    """Warnings about objects of the namespace have these texts."""
    return lambda status: all(
        any(f"{attacker.namespace}" in warning and text in warning for warning in status["warnings"]) for text in texts
    )


def problem(attacker: Attacker, *names: str) -> Reported:
    """These objects cannot be read."""
    return lambda status: all(
        any(f"{attacker.namespace}/{name}: " in problem for problem in status["problems"]) for name in names
    )
