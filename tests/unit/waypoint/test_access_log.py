"""Log entries as values, and how an agent that stops leaves a stream."""

import pytest
from envoy.data.accesslog.v3 import accesslog_pb2

from agent.translate.filters.url_rewrite import MAX_TEXT
from agent.waypoint.access_log import FLAGS, parse_entry


def entry(**common: object) -> accesslog_pb2.HTTPAccessLogEntry:
    made = accesslog_pb2.HTTPAccessLogEntry()
    for name, value in common.items():
        setattr(made.common_properties, name, value)
    return made


def test_an_entry_that_says_nothing_is_a_value_all_the_same():
    found = parse_entry(entry())
    assert (found.client, found.code, found.flags, found.upstream, found.cluster) == ("", 0, "-", "", "")


def test_every_flag_that_there_is_has_its_letters():
    flags = accesslog_pb2.ResponseFlags.DESCRIPTOR.fields
    assert {field.name for field in flags} == FLAGS.keys()
    assert len(set(FLAGS.values())) == len(FLAGS)


def test_several_flags_are_all_said():
    made = entry()
    made.common_properties.response_flags.upstream_connection_failure = True
    made.common_properties.response_flags.upstream_retry_limit_exceeded = True
    made.common_properties.response_flags.unauthorized_details.reason = 1
    assert parse_entry(made).flags == "UF,UAEX,URX"


@pytest.mark.parametrize(("address", "text"), [("10.1.0.2", "10.1.0.2:8080"), ("fd00::2", "[fd00::2]:8080")])
def test_endpoints_of_both_families(address: str, text: str):
    made = entry()
    made.common_properties.upstream_remote_address.socket_address.address = address
    made.common_properties.upstream_remote_address.socket_address.port_value = 8080
    assert parse_entry(made).upstream == text


@pytest.mark.parametrize(
    ("tag", "members"),
    [('["a/b:80/http","a/c:80/http"]', ("a/b:80/http", "a/c:80/http")), ("a/b:80/http", ()), ("-", ()), ("", ())],
)
def test_members_of_a_pool(tag: str, members: tuple[str, ...]):
    made = entry()
    made.common_properties.custom_tags["members"] = tag
    made.common_properties.custom_tags["cluster"] = "-"
    found = parse_entry(made)
    assert (found.members, found.cluster) == (members, "")


def test_what_a_client_writes_is_cut():
    made = entry()
    for field in ("path", "user_agent", "authority", "request_id"):
        setattr(made.request, field, "x" * 100_000)
    for header in (":method", "traceparent"):
        made.request.request_headers[header] = "x" * 100_000
    found = parse_entry(made)
    texts = (found.path, found.user_agent, found.authority, found.request_id, found.method, found.traceparent)
    assert {len(text) for text in texts} == {MAX_TEXT}


def test_a_path_is_the_client_s_also_where_the_route_rewrites_it():
    made = entry()
    made.request.path, made.request.original_path, made.request.authority = "/new", "/forged", "new"
    assert (parse_entry(made).path, parse_entry(made).authority) == ("/new", "new")
    made.common_properties.custom_tags["received-path"] = "/old"
    made.common_properties.custom_tags["received-authority"] = "old"
    assert (parse_entry(made).path, parse_entry(made).authority) == ("/old", "old")
    made.common_properties.custom_tags["received-path"] = made.common_properties.custom_tags["received-authority"] = "-"
    assert (parse_entry(made).path, parse_entry(made).authority) == ("/new", "new")


def test_a_grpc_status_is_in_the_trailers_or_with_the_headers_alone():
    made = entry()
    made.response.response_headers["grpc-status"] = "12"
    assert parse_entry(made).grpc_status == ""
    made.request.request_headers["content-type"] = "application/grpc+proto"
    assert (parse_entry(made).grpc_status, parse_entry(made).is_grpc) == ("12", True)
    made.response.response_trailers["grpc-status"] = "0"
    assert parse_entry(made).grpc_status == "0"
