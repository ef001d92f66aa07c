"""Attacks by objects other than Routes: addresses that are not theirs, labels, annotations, what cannot be read."""

from support.attacks.attacker import Attacker
from support.attacks.reported import problem, warned
from support.attacks.shares import Made

NOT_ROUTABLE = ("127.0.0.1", "127.8.9.10", "169.254.169.254", "169.254.1.1", "224.0.0.1", "239.1.2.3", "0.0.0.0")
# No mode, and what terminals and markup make of text.
TEXTS = ("l8", "L7", "", "[/x]", "[red]", "\x1b[2J", "\u202e", "{}", "%s", "x" * 60, "\r\nl7", "none ")


def endpoints_of_the_node(attacker: Attacker) -> Made:
    """Addresses that mean something else on each node."""
    ports = attacker.random.randint(1, 5)
    addresses = attacker.random.sample(NOT_ROUTABLE, 3)
    found = attacker.endpoint_slice("deputy", 0, 1, ports)
    found["endpoints"] = [{"addresses": [address]} for address in addresses]
    text = f"EndpointSlice deputy-0: endpoints[0].addresses[0]: {addresses[0]} is not used"
    return [attacker.service("deputy", ports), found], warned(attacker, text, "(and 2 more)")


def unknown_modes(attacker: Attacker) -> Made:
    """Labels that are no mode."""
    texts = attacker.random.sample(TEXTS, 4)
    made = [attacker.service(f"mode{n}", 1) for n in range(len(texts))]
    for item, text in zip(made, texts, strict=True):
        item["metadata"]["labels"] = {"weft.dev/mode": text}
    return made, warned(attacker, *(f"{text!r} is none of none, l4, l7" for text in texts))


def unknown_policies(attacker: Attacker) -> Made:
    """Annotations that are no policy."""
    texts = attacker.random.sample(TEXTS[1:], 3)
    name, choices = attacker.random.choice(
        (
            ("weft.dev/on-waypoint-loss", "is neither kernel nor reject"),
            ("weft.dev/on-backend-loss", "is neither keep nor reset"),
        )
    )
    made = [attacker.service(f"words{n}", 1, **{name: text}) for n, text in enumerate(texts)]
    return made, warned(attacker, *(f"{text[:40]!r} {choices}" for text in texts))


def stolen_addresses(attacker: Attacker) -> Made:
    """The victim's address, in imports and Services."""
    made = [attacker.service_import("stolen", "VICTIM")]
    found = attacker.endpoint_slice("stolen", 1, attacker.random.randint(1, 100), 1)
    found["metadata"]["labels"] = {"multicluster.kubernetes.io/service-name": "stolen"}
    if attacker.random.random() < 0.5:
        made[0]["spec"]["ips"].append(attacker.address())
    return [*made, found], warned(attacker, "is not used")


def ignored_protocols(attacker: Attacker) -> Made:
    """Ports that are neither TCP nor UDP."""
    protocol = attacker.random.choice(("SCTP", "DCCP", "tcp", "\x1b[31m"))
    return [attacker.service("odd", attacker.random.randint(1, 100), protocol)], warned(
        attacker, f"weft ignores {protocol!a}"
    )


def unreadable_objects(attacker: Attacker) -> Made:
    """Services and EndpointSlices that no API server stores, in a directory of manifests."""
    service, other = attacker.service("unreadable0", 2), attacker.service("unreadable1", 3)
    service["spec"]["ports"][0]["port"] = attacker.random.choice(("http", -1.5, None, [80], 2**70))
    other["spec"]["clusterIP"] = attacker.random.choice(("10.96.0", "x", "10.96.0.0/16", 7))
    found = attacker.endpoint_slice("unreadable2", 0, attacker.random.randint(1001, 3000), 1)
    address = attacker.endpoint_slice("unreadable3", 0, 2, 1)
    address["endpoints"][1]["addresses"] = attacker.random.choice(([], ["a"], ["10.0.0.256"], ["fd00::1"]))
    names = ("unreadable0", "unreadable1", "unreadable2-0", "unreadable3-0")
    return [service, other, found, address], problem(attacker, *names)
