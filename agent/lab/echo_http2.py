"""The echo server's HTTP/2 without TLS, and gRPC on it: unary, any method, the answer is one message."""

import asyncio
from dataclasses import dataclass, field
from urllib.parse import urlencode

import h2.events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.exceptions import ProtocolError

from agent.lab.echo_answer import Controls, answer, facts_of

Headers = list[tuple[str, str]]


@dataclass(slots=True)
class _Stream:
    """A request as far as it came, and the answer as far as it is not sent."""

    headers: Headers
    received: int = 0
    unsent: bytes = b""
    trailers: Headers = field(default_factory=list)


class HTTP2(asyncio.Protocol):
    """One connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send our settings."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._h2 = H2Connection(H2Configuration(client_side=False, header_encoding="latin-1"))
        self._streams: dict[int, _Stream] = {}
        self._h2.initiate_connection()
        self._write()

    def data_received(self, data: bytes) -> None:
        """Handle what the bytes amount to; what is no HTTP/2 ends the connection."""
        try:
            for event in self._h2.receive_data(data):
                self._handle(event)
        except ProtocolError:
            self._transport.close()
        self._write()

    def _handle(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.RequestReceived():
                self._streams[event.stream_id] = _Stream([(str(n), str(v)) for n, v in event.headers])
            case h2.events.DataReceived() if event.stream_id in self._streams:
                self._streams[event.stream_id].received += len(event.data)
                self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case h2.events.StreamEnded():
                self._answer_in_time(event.stream_id)
            case h2.events.StreamReset():
                self._streams.pop(event.stream_id, None)
            case h2.events.WindowUpdated():
                for stream_id in [event.stream_id] if event.stream_id else list(self._streams):
                    self._send(stream_id)

    def _answer_in_time(self, stream_id: int) -> None:
        headers = dict(self._streams[stream_id].headers)
        controls = Controls.of(headers.get(":path", "") + _metadata_query(headers))
        if controls.close:
            self._transport.close()
        elif controls.wait:
            asyncio.get_running_loop().call_later(controls.wait, self._answer_late, stream_id, controls)
        else:
            self._answer(stream_id, controls)

    def _answer_late(self, stream_id: int, controls: Controls) -> None:
        if stream_id in self._streams and not self._transport.is_closing():
            self._answer(stream_id, controls)
            self._write()

    def _answer(self, stream_id: int, controls: Controls) -> None:
        stream = self._streams[stream_id]
        request = dict(stream.headers)
        grpc = request.get("content-type", "").startswith("application/grpc")
        facts = facts_of(self._transport, "grpc" if grpc else "http/2")
        host = request.get(":authority", request.get("host", ""))
        body = answer(
            facts, host=host, method=request[":method"], path=request.get(":path", ""),
            headers=stream.headers, received=stream.received,
        )  # fmt: skip
        body += b"\n" + b"x" * controls.body
        if grpc:
            stream.unsent = _grpc_message(body)
            stream.trailers = [("grpc-status", str(controls.status if controls.status != 200 else 0))]
            head = [(":status", "200"), ("content-type", "application/grpc")]
        else:
            stream.unsent = b"" if request[":method"] == "HEAD" else body
            head = [(":status", str(controls.status)), ("content-type", "application/json")]
        self._h2.send_headers(stream_id, head)
        self._send(stream_id)

    def _send(self, stream_id: int) -> None:
        """Send as much as the peer's window takes; a larger window calls again."""
        stream = self._streams.get(stream_id)
        if stream is None or not (stream.unsent or stream.trailers):
            return
        while stream.unsent:
            window = min(self._h2.local_flow_control_window(stream_id), self._h2.max_outbound_frame_size)
            if window <= 0:
                return
            self._h2.send_data(stream_id, stream.unsent[:window])
            stream.unsent = stream.unsent[window:]
        if stream.trailers:
            self._h2.send_headers(stream_id, stream.trailers, end_stream=True)
        else:
            self._h2.end_stream(stream_id)
        del self._streams[stream_id]

    def _write(self) -> None:
        self._transport.write(self._h2.data_to_send())


def _metadata_query(headers: dict[str, str]) -> str:
    """A gRPC path has no query: its controls are metadata, `x-echo-status: 14` for `?status=14`."""
    options = {name.removeprefix("x-echo-"): value for name, value in headers.items() if name.startswith("x-echo-")}
    return f"?{urlencode(options)}" if options else ""


def _grpc_message(text: bytes) -> bytes:
    """A message behind gRPC's five bytes: not compressed, length. JSON needs no protobuf on the client's side."""
    return b"\x00" + len(text).to_bytes(4, "big") + text
