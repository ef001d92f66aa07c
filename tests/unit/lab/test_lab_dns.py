"""The cluster's names, as DNS messages."""

import pytest
from dnslib import DNSError, DNSRecord

from agent.lab.dns import answer, names
from agent.lab.store import key_of, parse

MANIFEST = """
{kind: Service, metadata: {name: web, namespace: shop}, spec: {clusterIP: 10.96.0.20, ports: [{port: 80}]}}
---
{kind: Service, metadata: {name: dual, namespace: shop}, spec: {
  clusterIP: 10.96.0.21, clusterIPs: [10.96.0.21, "fd00:96::21"], ports: [{port: 80}]}}
---
{kind: Service, metadata: {name: bare, namespace: shop}, spec: {clusterIP: None, ports: [{port: 80}]}}
---
kind: EndpointSlice
metadata: {name: bare-1, namespace: shop, labels: {kubernetes.io/service-name: bare}}
addressType: IPv4
endpoints:
  - {addresses: [10.244.0.20], conditions: {ready: true}}
  - {addresses: [10.244.0.21], conditions: {ready: false}}
ports: [{name: "", protocol: TCP, port: 80}]
"""
KNOWN = names({key_of(item): item for item in parse(MANIFEST)})


def ask(name, kind="A"):
    reply = DNSRecord.parse(answer(DNSRecord.question(name, kind).pack(), KNOWN))
    return reply.header.rcode, [str(record.rdata) for record in reply.rr]


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("web.shop.svc.cluster.local", "A", (0, ["10.96.0.20"])),
        ("WEB.Shop.svc.cluster.LOCAL", "A", (0, ["10.96.0.20"])),
        ("bare.shop.svc.cluster.local", "A", (0, ["10.244.0.20"])),
        ("web.shop.svc.cluster.local", "AAAA", (0, [])),
        ("dual.shop.svc.cluster.local", "A", (0, ["10.96.0.21"])),
        ("dual.shop.svc.cluster.local", "AAAA", (0, ["fd00:96::21"])),
        ("web.shop", "A", (3, [])),
        ("example.org", "A", (3, [])),
    ],
)
def test_names(name, kind, expected):
    assert ask(name, kind) == expected


def test_what_is_no_query_is_said_to_be_none():
    with pytest.raises(DNSError):
        answer(b"\x00\x01", KNOWN)
