"""The network namespace helper answers each request, also a bad one; a client believes no reply that is not one."""

import json
import os
import socket
import threading
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.kernel.netns.client import NetnsClient, NetnsError, RefusedError
from agent.kernel.netns.protocol import (
    MOST_ADDRESSES,
    MOST_BYTES,
    MOST_PODS,
    Opened,
    Query,
    Refused,
    Reply,
    Seen,
    receive,
    send,
)
from agent.kernel.netns.server import Server

POD = "burstable/pod0c9d8c4e"


def answer(request: bytes, kubepods: Path = Path("/nowhere")) -> Reply:
    """The reply to the bytes of a request."""
    ours, its = socket.socketpair()
    with ours, its:
        serving = threading.Thread(target=Server(kubepods, "self").handle, args=[its])
        serving.start()
        try:
            ours.sendall(request)
            ours.shutdown(socket.SHUT_WR)
        except BrokenPipeError:  # it has read enough
            pass
        data, descriptors = receive(ours, 9)
        serving.join()
        assert descriptors == []
        return msgspec.json.decode(data, type=Reply)


def encoded(**fields: object) -> bytes:
    return json.dumps(fields).encode()


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (b"", "truncated"),
        (b"{", "truncated"),
        (b"[]", "Expected `object`"),
        (b"\xff", "malformed"),
        (encoded(type="exec", pod=POD), "Invalid value 'exec'"),
        (encoded(type="open", pod=POD), "missing required field `namespace`"),
        (encoded(type="open", pod=POD, namespace="1"), "Expected `int`"),
        (encoded(type="open", pod=POD, namespace=1, path="/proc/1"), "unknown field `path`"),
        (encoded(type="sockets", pod=POD, skip=-1), "`int` >= 0"),
        (encoded(type="look", queries=[{"pod": POD}] * (MOST_PODS + 1)), f"length <= {MOST_PODS}"),
        (
            encoded(type="look", queries=[{"pod": POD, "having": ["::"] * (MOST_ADDRESSES + 1)}]),
            f"length <= {MOST_ADDRESSES}",
        ),
        (b'{"x":' + b"[" * 100_000, "Recursion"),
        (b" " * (MOST_BYTES + 100_000), f"more than {MOST_BYTES} bytes"),
    ],
)
def test_a_bad_request_is_refused_with_its_reason(request_: bytes, reason: str) -> None:
    reply = answer(request_)
    assert isinstance(reply, Refused)
    assert reason in reply.reason


@pytest.mark.parametrize(
    "pod",
    [
        "..",
        "../../../proc/1",
        "/proc/1",
        "../pod1",
        "pod1/../..",
        "system.slice/pod1",
        "burstable/burstable/pod1",
        "burstable/pod1/ctr",
        "burstable",
        "pod",
        "podA",
        "a\0-pod1",
    ],
)
def test_what_is_not_below_kubepods_is_refused(pod: str) -> None:
    for request in (
        {"type": "look", "queries": [{"pod": pod}]},
        {"type": "open", "pod": pod, "namespace": 1},
        {"type": "sockets", "pod": pod},
    ):
        assert answer(json.dumps(request).encode()) == Refused(f"not the cgroup of a pod: {pod!r}")


@given(st.binary(max_size=200) | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(msgspec.json.encode))
def test_no_bytes_end_it(request: bytes) -> None:
    assert isinstance(answer(request), Refused)


def test_a_pod_without_processes_has_no_namespace(tmp_path: Path) -> None:
    assert answer(encoded(type="look", queries=[{"pod": POD}]), tmp_path) == Seen({}, True)
    assert answer(encoded(type="open", pod=POD, namespace=1), tmp_path) == Opened(())
    assert answer(encoded(type="sockets", pod=POD), tmp_path) == Opened(())


@contextmanager
def replying(path: Path, reply: Reply | bytes, descriptors: int = 0):
    """A helper that answers one request so; the client."""
    with socket.socket(socket.AF_UNIX) as listener, Path(os.devnull).open() as file:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                receive(connection)
                if isinstance(reply, bytes):
                    connection.sendall(reply)
                else:
                    send(connection, reply, [file.fileno()] * descriptors)

        serving = threading.Thread(target=serve)
        serving.start()
        yield NetnsClient(path)
        serving.join()


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize(
    ("reply", "sent"),
    [(b"", 0), (b"{", 0), (Opened((1,)), 0), (Opened((1,)), 2), (Opened(()), 1), (Seen({}, True), 1)],
)
def test_a_reply_that_is_none_is_an_error_and_leaves_no_descriptor(
    reply: Reply | bytes, sent: int, tmp_path: Path
) -> None:
    before = descriptors()
    with replying(tmp_path / "s", reply, sent) as client:
        with pytest.raises(NetnsError, match="does not answer"), client.open(POD, 1):
            pytest.fail("opened")
        assert str(tmp_path / "s") in client.error
    assert descriptors() == before


def test_a_refusal_is_no_outage(tmp_path: Path) -> None:
    with replying(tmp_path / "s", Refused("not this pod")) as client:
        with pytest.raises(RefusedError, match="refused a request: not this pod"):
            list(client.sockets(POD))
        assert client.error == ""


def test_descriptors_come_with_the_reply_and_are_closed(tmp_path: Path) -> None:
    before = descriptors()
    with replying(tmp_path / "s", Opened((7,)), 1) as client, client.open(POD, 7) as descriptor:
        assert descriptor is not None
        assert os.fstat(descriptor).st_rdev == Path(os.devnull).stat().st_rdev
    assert descriptors() == before


def test_requests_about_many_pods_are_divided(tmp_path: Path) -> None:
    queries = [Query(f"pod{number:x}") for number in range(3 * MOST_PODS)]
    requested: list[int] = []

    class Recorder(NetnsClient):
        def _exchange(self, request: object) -> tuple[Reply, list[int]]:
            requested.append(len(request.queries))  # type: ignore[attr-defined]
            return Seen({}, len(requested) != 2), []

    # One reply without the node's network is enough to know of no namespace that it is not the node's.
    assert Recorder(tmp_path).look(queries) == Seen({}, False)
    assert requested == [MOST_PODS] * 3
    assert Recorder(tmp_path).look([]) == Seen({}, True)


def test_who_is_not_there_is_named_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    client = NetnsClient(tmp_path / "none")
    for _ in range(3):
        with pytest.raises(NetnsError, match="No such file"):
            client.look([Query(POD)])
    assert [record.message for record in caplog.records] == ["network namespaces cannot be opened, trying again"]
    assert "No such file" in client.error
