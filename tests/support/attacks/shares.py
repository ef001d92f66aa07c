"""Attacks on what namespaces share: the kernel's tables, the waypoint's listeners, Envoy's configuration."""

from itertools import count

from support.attacks.attacker import Attacker, Object, header_filters, methods, own, prefixes, rule
from support.attacks.reported import Reported, not_accepted, over_budget

Made = tuple[list[Object], Reported]


def slots_of_a_service(attacker: Attacker) -> Made:
    """Thousands of endpoints on many ports."""
    ports, slices = attacker.random.randint(60, 100), attacker.random.randint(3, 4)
    protocol = attacker.random.choice(("TCP", "UDP"))
    made = [attacker.endpoint_slice("large", n, 1000, ports, protocol) for n in range(slices)]
    return [attacker.service("large", ports, protocol), *made], over_budget(attacker, "slots")


def slots_of_services(attacker: Attacker) -> Made:
    """Services with hundreds of endpoints each."""
    ports, endpoints = attacker.random.randint(7, 12), attacker.random.randint(300, 500)
    services = 150_000 // (ports * endpoints)
    made = [
        item
        for n in range(services)
        for item in (attacker.service(f"s{n}", ports), attacker.endpoint_slice(f"s{n}", n % 100, endpoints, ports))
    ]
    return made, over_budget(attacker, "slots")


def frontends(attacker: Attacker) -> Made:
    """Services with many ports and no endpoint."""
    ports, protocol = attacker.random.randint(90, 400), attacker.random.choice(("TCP", "UDP"))
    made = [attacker.service(f"f{n}", ports, protocol) for n in range(33_500 // ports)]
    return made, over_budget(attacker, "frontends")


def listeners(attacker: Attacker) -> Made:
    """A Route on every port of Services with many ports."""
    ports, kind = attacker.random.randint(60, 120), attacker.random.choice(("HTTPRoute", "GRPCRoute"))
    made = [
        item
        for n in range(600 // ports)
        for item in (attacker.service(f"l{n}", ports), attacker.route(f"l{n}", [rule([])], own(f"l{n}"), kind))
    ]
    return made, over_budget(attacker, "listeners")


def configuration_of_a_service(attacker: Attacker) -> Made:
    """A few large Routes on all of many ports."""
    made = [_large_route(attacker, f"w{n}", "wide") for n in range(4)]
    return [attacker.service("wide", attacker.random.randint(50, 100)), *made], over_budget(attacker, "configuration")


def configuration_of_services(attacker: Attacker) -> Made:
    """Large Routes on the ports of many Services."""
    made = [
        item
        for n in range(attacker.random.randint(10, 14))
        for item in (
            attacker.service(f"m{n}", 2),
            *(_large_route(attacker, f"m{n}-{number}", f"m{n}") for number in range(4)),
        )
    ]
    return made, over_budget(attacker, "configuration")


def _large_route(attacker: Attacker, name: str, parent: str) -> Object:
    """A Route of nearly a MiB, on all ports of a Service."""
    return attacker.route(name, [rule(prefixes(16), header_filters(60_000))], own(parent))


def large_route(attacker: Attacker) -> Made:
    """Matches repeat the filters of their rule."""
    kind, routes = attacker.random.choice(("HTTPRoute", "GRPCRoute")), attacker.random.randint(1, 4)
    filters = header_filters(attacker.random.randint(40_000, 64_000), attacker.random.choice(("Request", "Response")))
    matches = prefixes(64) if kind == "HTTPRoute" else methods(64)
    made = [attacker.route(f"r{n}", [rule(matches, filters)] * 2, kind=kind) for n in range(routes)]
    return made, not_accepted(attacker, "TooLarge", routes)


def large_backend_filters(attacker: Attacker) -> Made:
    """Filters of backendRefs, for each of them and each match."""
    filters, rest = header_filters(attacker.random.randint(28_000, 40_000)), rule(prefixes(16))
    backends = [{**rest["backendRefs"][0], "filters": filters} for _ in range(8)]
    return [attacker.route("b", [{**rest, "backendRefs": backends}])], not_accepted(attacker, "TooLarge")


def routes_of_a_consumer(attacker: Attacker) -> Made:
    """Routes that are not too large, on one port of the victim's Service."""
    size = attacker.random.randint(30_000, 50_000)
    each = 16 * size
    routes = 2 * 4 * 2**20 // each
    made = [attacker.route(f"c{n}", [rule(prefixes(16), header_filters(size))]) for n in range(routes)]
    return made, not_accepted(attacker, "TooLarge", routes // 3)


def long_texts(attacker: Attacker) -> Made:
    """Header matches with the longest values."""
    numbers = count()
    value = "v" * 4096

    def match() -> Object:
        return {"headers": [{"name": f"x-{next(numbers)}", "value": value} for _ in range(16)]}

    made = attacker.route("t", [rule([match() for _ in range(attacker.random.randint(17, 20))])])
    return [made], not_accepted(attacker, "TooLarge")
