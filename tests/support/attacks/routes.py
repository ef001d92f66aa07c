"""Attacks by what Routes say: expressions, headers, parents, backends, and what cannot be read."""

from itertools import product
from random import Random

from support.attacks.attacker import VICTIM, Attacker, Object, header_filter, own, prefixes, rule
from support.attacks.reported import conditions, not_accepted, problem
from support.attacks.shares import Made

FRAMING = ("Content-Length", "Transfer-Encoding", "Connection", "Upgrade", "TE", "Keep-Alive")
# Expressions whose RE2 programs are larger than Envoy may have.
COSTLY = (r"\pL{400}", r"(?:[\p{L}\p{N}]{1,40}){1,24}", r"(?:a{1,30}){1,30}(?:b{1,30}){1,30}")


def costly_expressions(attacker: Attacker) -> Made:
    """In paths, headers, query parameters or methods."""
    routes, kind = attacker.random.randint(1, 4), attacker.random.choice(("path", "headers", "queryParams", "method"))
    made = [
        attacker.route(
            f"x{n}",
            [rule([_expression(kind, number, attacker.random.choice(COSTLY)) for number in range(16)])],
            kind="GRPCRoute" if kind == "method" else "HTTPRoute",
        )
        for n in range(routes)
    ]
    return made, not_accepted(attacker, "UnsupportedValue", routes)


def _expression(kind: str, number: int, expression: str) -> Object:
    if kind == "path":
        return {"path": {"type": "RegularExpression", "value": f"/{number}{expression}"}}
    if kind == "method":
        return {"method": {"type": "RegularExpression", "service": f"s{number}{expression}"}}
    return {kind: [{"type": "RegularExpression", "name": f"x-{number}", "value": expression}]}


def many_expressions(attacker: Attacker) -> Made:
    """More than a Route may have, each of them small."""
    kind, each = attacker.random.choice(("headers", "queryParams")), attacker.random.randint(9, 16)
    match = {kind: [{"type": "RegularExpression", "name": f"x-{n}", "value": "[a-z]+"} for n in range(each)]}
    made = [attacker.route("many", [rule([match] * (256 // each + 1))])]
    return made, not_accepted(attacker, "UnsupportedValue")


def bad_expressions(attacker: Attacker) -> Made:
    """That no engine, or RE2 alone, refuses."""
    texts = attacker.random.sample(("(", "(?=a)", "\\", "[[:nope:]]", "a**", "(?P<n>a", "\\1", "(?<!a)b", "x{2,1}"), 4)
    made = [
        attacker.route(f"e{n}", [rule([{"path": {"type": "RegularExpression", "value": text}}])])
        for n, text in enumerate(texts)
    ]
    return made, not_accepted(attacker, "UnsupportedValue", len(made))


def framing_headers(attacker: Attacker) -> Made:
    """Headers that frame messages, in any case, set by filters of rules or of backends."""
    names = attacker.random.sample(FRAMING, 4)
    of_backend = attacker.random.random() < 0.5
    made = []
    for n, (kind, name) in enumerate(product(("Request", "Response"), names)):
        filters = [header_filter(kind, [{"name": _case(name, attacker.random), "value": "0"}])]
        ruled = rule(prefixes(1), [] if of_backend else filters)
        if of_backend:
            ruled["backendRefs"] = [{**item, "filters": filters} for item in ruled["backendRefs"]]
        made.append(attacker.route(f"framing{n}", [ruled]))
    return made, not_accepted(attacker, "UnsupportedValue", len(made))


def _case(text: str, random: Random) -> str:
    return "".join(random.choice((letter.upper(), letter.lower())) for letter in text)


def unreadable_routes(attacker: Attacker) -> Made:
    """A field of the wrong type."""
    wrong: tuple[Object, ...] = ({"port": "eighty"}, {"port": 2**70}, {"weight": "1"}, {"name": ["v1"]}, {"port": 8.5})
    kinds = ("HTTPRoute", "GRPCRoute", "TCPRoute", "TLSRoute", "UDPRoute")
    made = []
    for n, kind in enumerate(attacker.random.sample(kinds, 3)):
        backend = {"name": "v1", "port": 80, **attacker.random.choice(wrong)}
        made.append(attacker.route(f"unreadable{n}", [{"backendRefs": [backend]}], kind=kind))
    return made, problem(attacker, *(item["metadata"]["name"] for item in made))


def outside_the_schema(attacker: Attacker) -> Made:
    """More than an API server stores, in a directory of manifests."""
    parents = [{**own(f"p{n}")} for n in range(attacker.random.randint(33, 1000))]
    rules, matches = attacker.random.randint(17, 2000), attacker.random.randint(65, 2000)
    many = attacker.route("parents", [rule([])])
    many["spec"]["parentRefs"] = parents
    made = [
        many,
        attacker.route("rules", [rule([])] * rules),
        attacker.route("matches", [rule(prefixes(matches))]),
        attacker.route("twice", [rule([])], kind="GRPCRoute"),
    ]
    made[3]["spec"]["parentRefs"] *= 2
    return made, problem(attacker, "parents", "rules", "matches", "twice")


def parents_that_do_not_exist(attacker: Attacker) -> Made:
    """As many as a Route may have, on each of several Routes."""
    routes = attacker.random.randint(10, 60)
    kind = attacker.random.choice(("HTTPRoute", "GRPCRoute", "TCPRoute"))
    backends = [{"name": "none", "port": 1}]
    made = [attacker.route(f"n{n}", [{"backendRefs": backends}], kind=kind) for n in range(routes)]
    for item in made:
        item["spec"]["parentRefs"] = [{**own(f"none{n}"), "namespace": VICTIM, "port": n + 1} for n in range(32)]
    return made, not_accepted(attacker, "NoMatchingParent", 32 * routes)


def conflicts(attacker: Attacker) -> Made:
    """Routes of one kind that do not merge, on one port: one of them applies."""
    kind, routes = attacker.random.choice(("TCPRoute", "UDPRoute")), attacker.random.randint(50, 200)
    made = [attacker.service("one", 1, kind.removesuffix("Route"))]
    backend = {"backendRefs": [{"name": "one", "port": 1}]}
    made += [attacker.route(f"k{n}", [backend], own("one"), kind) for n in range(routes)]
    return made, not_accepted(attacker, "Conflicted", routes - 1)


def wrong_backends(attacker: Attacker) -> Made:
    """Backends that do not exist, or of another kind or protocol."""
    made = [attacker.service("one", 3)]
    wrong, reason = attacker.random.choice(
        (
            ({"name": "echo", "namespace": VICTIM, "port": 9091}, "UnsupportedProtocol"),
            ({"name": "none", "port": 80}, "BackendNotFound"),
            ({"name": "one", "port": 80, "kind": "Secret"}, "InvalidKind"),
        )
    )
    routes, backends = attacker.random.randint(5, 20), [wrong] * 16
    made += [attacker.route(f"b{n}", [{"backendRefs": backends}] * 16, own("one")) for n in range(routes)]
    return made, conditions(attacker, "ResolvedRefs", reason, routes)


def hostnames(attacker: Attacker) -> Made:
    """TLSRoutes whose names are no names."""
    texts = attacker.random.sample(("10.0.0.1", "a b", "*", "*.*.a", "a" * 300, "x_y", "é.example", "a..b", "-a.b"), 4)
    made = [attacker.route(f"h{n}", [{"backendRefs": []}], kind="TLSRoute") for n in range(len(texts))]
    for item, text in zip(made, texts, strict=True):
        item["spec"]["hostnames"] = [text]
    return made, problem(attacker, *(item["metadata"]["name"] for item in made))
