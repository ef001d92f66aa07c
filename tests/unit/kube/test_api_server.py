"""The transport against a server that says what it is told to: answers that a healthy API server does not give."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from agent.kube import client
from agent.kube.client import MERGE_PATCH, ApiServer
from agent.kube.errors import UNREACHABLE, ApiError, ConfigurationError

Answer = Callable[[str, asyncio.StreamWriter], Awaitable[None]]


class Scripted:
    """Answers one request after the other; notes their heads and bodies."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.heads: list[str] = []
        self.bodies: list[bytes] = []
        self.port = 0

    async def start(self) -> asyncio.Server:
        listening = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = listening.sockets[0].getsockname()[1]
        return listening

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = re.search(r"content-length: (\d+)", head.lower())
            self.heads.append(head)
            self.bodies.append(await reader.readexactly(int(length[1]) if length else 0))
            await self.answers.pop(0)(head, writer)
        finally:
            writer.close()


def answer(status: int, body: bytes, **headers: str) -> Answer:
    async def give(_: str, writer: asyncio.StreamWriter) -> None:
        lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", "Connection: close"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        await writer.drain()

    return give


def stream(*chunks: bytes, ends: bool = True) -> Answer:
    async def give(_: str, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for chunk in chunks:
            writer.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
            await writer.drain()
        if ends:
            writer.write(b"0\r\n\r\n")
        else:
            await asyncio.sleep(30)

    return give


Start = Callable[..., Awaitable[tuple[ApiServer, Scripted]]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Starts a server with these answers, and a client of it with the token in `tmp_path/token`."""
    listening: list[asyncio.Server] = []
    clients: list[ApiServer] = []
    token = tmp_path / "token"
    token.write_text("first")

    async def begin(*answers: Answer) -> tuple[ApiServer, Scripted]:
        script = Scripted(*answers)
        listening.append(await script.start())
        file = tmp_path / "kubeconfig"
        file.write_text(kubeconfig(script.port, token))
        clients.append(await ApiServer(file, "weft-test/1").__aenter__())
        return clients[-1], script

    yield begin
    for started in clients:
        await started.__aexit__()
    for one in listening:
        one.close()


def kubeconfig(port: int, token: Path) -> str:
    return json.dumps(
        {
            "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
            "users": [{"name": "u", "user": {"tokenFile": str(token)}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        }
    )


async def failure(work: Awaitable[object]) -> ApiError:
    with pytest.raises(ApiError) as caught:
        await work
    return caught.value


async def lines(api: ApiServer) -> list[bytes]:
    async with api.watch("/w", {"watch": "true"}) as found:
        return [line async for line in found]


async def test_a_request_says_who_asks_and_for_what(start: Start):
    api, script = await start(answer(200, b"[]"), answer(201, b"{}"))
    assert await api.get("/a", {"fieldSelector": "spec.nodeName=n/1"}, "application/x") == b"[]"
    head = script.heads[0].lower()
    assert head.startswith("get /a?fieldselector=spec.nodename%3dn/1 http/1.1")
    for line in ("authorization: bearer first", "user-agent: weft-test/1", "accept: application/x"):
        assert line in head
    assert await api.send("PATCH", "/b", {"a": None}, MERGE_PATCH) == b"{}"
    assert f"content-type: {MERGE_PATCH}" in script.heads[1].lower()
    assert json.loads(script.bodies[1]) == {"a": None}


async def test_a_refusal_says_why_and_how_long_to_wait(start: Start):
    busy = json.dumps({"kind": "Status", "code": 429, "message": "busy"}).encode()
    api, _ = await start(answer(429, busy, Retry_After="3"), answer(502, b"<html>"))
    error = await failure(api.get("/a"))
    assert (error.status, error.retry_after, str(error)) == (429, 3.0, "429: busy")
    assert (await failure(api.get("/a"))).status == 502


async def test_a_token_that_is_refused_is_read_again(start: Start, tmp_path: Path):
    api, script = await start(answer(401, b"{}"), answer(200, b"ok"))
    (tmp_path / "token").write_text("second")
    assert (await failure(api.get("/a"))).status == 401
    assert await api.get("/a") == b"ok"
    assert ["bearer first" in head.lower() for head in script.heads] == [True, False]
    assert "bearer second" in script.heads[1].lower()


async def test_credentials_that_are_gone_are_an_error_of_the_request(start: Start, tmp_path: Path):
    api, _ = await start(answer(401, b"{}"), answer(401, b"{}"))
    (tmp_path / "kubeconfig").unlink()
    error = await failure(api.get("/a"))
    assert (error.status, "credentials" in str(error)) == (UNREACHABLE, True)


async def test_a_watch_is_lines_whatever_the_chunks(start: Start):
    long = b"x" * 3_000_000
    api, _ = await start(stream(b'{"a"', b": 1}\n{}\n" + long[:1_000_000], long[1_000_000:] + b"\n"))
    assert await lines(api) == [b'{"a": 1}', b"{}", long]


async def test_a_watch_that_breaks_gives_what_was_whole(start: Start):
    async def torn(_: str, writer: asyncio.StreamWriter) -> None:
        writer.write(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n{}\n{"ha\r\n')
        await writer.drain()

    api, _ = await start(torn)
    received: list[bytes] = []

    async def read() -> None:
        async with api.watch("/w", {}) as found:
            async for line in found:
                received.extend([line])

    assert (await failure(read())).status == UNREACHABLE
    assert received == [b"{}"]


async def test_a_silent_watch_is_given_up(start: Start, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(client, "READ_TIMEOUT_SECONDS", 0.2)
    api, _ = await start(stream(b"{}\n", ends=False))
    assert (await failure(lines(api))).status == UNREACHABLE


async def test_a_line_without_end_is_given_up(start: Start, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("agent.kube.lines.MAX_LINE", 1000)
    api, _ = await start(stream(b"x" * 1001))
    assert "bytes" in str(await failure(lines(api)))


async def test_nobody_there(tmp_path: Path):
    listening = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    listening.close()
    await listening.wait_closed()
    (tmp_path / "token").write_text("t")
    (tmp_path / "kubeconfig").write_text(kubeconfig(port, tmp_path / "token"))
    async with ApiServer(tmp_path / "kubeconfig", "x") as api:
        assert (await failure(api.get("/a"))).status == UNREACHABLE
        assert (await failure(lines(api))).status == UNREACHABLE


@pytest.mark.parametrize("text", ["", "[", "{}", '{"current-context": "none"}', "\x00"])
async def test_a_kubeconfig_that_makes_no_sense(text: str, tmp_path: Path):
    file = tmp_path / "kubeconfig"
    file.write_text(text)
    with pytest.raises(ConfigurationError):
        await ApiServer(file, "x").__aenter__()


async def test_no_kubeconfig(tmp_path: Path):
    with pytest.raises(ConfigurationError):
        await ApiServer(tmp_path / "none", "x").__aenter__()


async def test_in_a_pod_the_service_account_speaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    with pytest.raises(ConfigurationError):
        await ApiServer(None, "x").__aenter__()
