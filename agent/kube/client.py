"""Requests to one API server, with the official client's configuration, credentials and TLS.

The client's typed layer is not used: weft decodes bytes into its own values.
"""

import asyncio
import os
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode
from weakref import WeakSet

import aiohttp
import yaml
from kubernetes.aio import client, config

from agent.kube.errors import UNREACHABLE, ApiError, ConfigurationError, api_error
from agent.kube.lines import LineSplitter, LineTooLongError

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
REQUEST_SECONDS = 60.0
CONNECT_SECONDS = 10.0
# A server sends bookmarks about once a minute. A watch without any data for this long may be dead.
READ_TIMEOUT_SECONDS = 100.0
# The loop needs a moment to notice that its connections have closed.
CLOSE_SECONDS = 5.0
# The kernel closes a connection whose peer does not answer on TCP level before that (tcp(7)).
KEEPALIVE = {socket.TCP_KEEPIDLE: 15, socket.TCP_KEEPINTVL: 5, socket.TCP_KEEPCNT: 3, socket.TCP_USER_TIMEOUT: 30_000}


class ApiServer:
    """Requests to one API server. Credentials are read again after a 401, and tokens each minute."""

    def __init__(self, kubeconfig: Path | None, agent: str) -> None:
        """`kubeconfig` None: the pod's service account, or else the user's kubeconfig. `agent` is the User-Agent."""
        self._kubeconfig = kubeconfig
        self._agent = agent
        self._client: client.ApiClient | None = None
        self._sockets = WeakSet[socket.socket]()

    async def __aenter__(self) -> Self:
        """Read the configuration. Raises `ConfigurationError`."""
        self._client = await _connect(self._kubeconfig, self._socket)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close all connections."""
        if self._client is not None:
            await self._client.close()
            await self._end()

    async def _end(self) -> None:
        """Close the remaining sockets: connections that were cancelled while opening would wait for the TLS
        close_notify.
        """
        for item in self._sockets:
            with suppress(OSError):
                item.shutdown(socket.SHUT_RDWR)
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                while any(item.fileno() >= 0 for item in self._sockets):
                    await asyncio.sleep(0.001)

    def _socket(self, address: Any) -> socket.socket:
        """A socket with keepalive, which notices a dead peer."""
        family, kind, protocol, _, _ = address
        made = socket.socket(family, kind, protocol)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in KEEPALIVE.items():
            made.setsockopt(socket.IPPROTO_TCP, option, value)
        self._sockets.add(made)
        return made

    @property
    def host(self) -> str:
        """The server's URL."""
        return str(self._client.configuration.host) if self._client else ""

    async def get(self, path: str, query: Mapping[str, str] | None = None, accept: str = JSON) -> bytes:
        """The body of a GET. Raises `ApiError`."""
        return await self._body("GET", path, query or {}, {"Accept": accept}, None)

    async def send(self, method: str, path: str, body: Mapping[str, Any], content_type: str = JSON) -> bytes:
        """Send a write. Returns the response's body. Raises `ApiError`."""
        return await self._body(method, path, {}, {"Accept": JSON, "Content-Type": content_type}, body)

    @asynccontextmanager
    async def watch(
        self, path: str, query: Mapping[str, str], accept: str = JSON
    ) -> AsyncGenerator[AsyncIterator[bytes], None]:
        """The lines of a watch, until the server ends it or the read timeout passes. Raises `ApiError`, also later."""
        timeout = aiohttp.ClientTimeout(sock_connect=CONNECT_SECONDS, sock_read=READ_TIMEOUT_SECONDS)
        async with self._open("GET", path, query, {"Accept": accept}, None, timeout) as response:
            yield _lines(response)

    async def _body(
        self, method: str, path: str, query: Mapping[str, str], headers: dict[str, str], body: Any
    ) -> bytes:
        timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS, sock_connect=CONNECT_SECONDS)
        async with self._open(method, path, query, headers, body, timeout) as response:
            return bytes(await response.read())

    @asynccontextmanager
    async def _open(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        headers: dict[str, str],
        body: Any,
        timeout: aiohttp.ClientTimeout,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A response with a status below 400. Everything else becomes an `ApiError`."""
        used = self._client
        if used is None:
            raise ApiError(UNREACHABLE, "not connected")
        try:
            url = f"{self.host}{path}?{urlencode(query)}" if query else f"{self.host}{path}"
            headers |= {"User-Agent": self._agent} | await _credentials(used)
            answer = await used.rest_client.request(method, url, headers, body, _request_timeout=timeout)
            response: aiohttp.ClientResponse = answer.response
            async with response:
                if response.status >= 400:
                    raise api_error(await response.read(), response.status, response.headers.get("Retry-After", ""))
                try:
                    yield response
                finally:
                    _abort(response)
        except ApiError as error:
            if error.status == 401:
                await self._reload_credentials(used)
            raise
        except (aiohttp.ClientError, TimeoutError, OSError, LineTooLongError, config.ConfigException) as error:
            if isinstance(error, aiohttp.ClientSSLError):
                await self._reload_credentials(used)
            raise ApiError(UNREACHABLE, str(error) or type(error).__name__) from error

    async def _reload_credentials(self, used: client.ApiClient) -> None:
        """Reload credentials and CAs, which may have been replaced; new connections use them. Raises `ApiError`."""
        try:
            await _configure(used.configuration, self._kubeconfig)
            context = used.rest_client.ssl_context
            if used.configuration.ssl_ca_cert:
                context.load_verify_locations(used.configuration.ssl_ca_cert)
            if used.configuration.cert_file:
                context.load_cert_chain(used.configuration.cert_file, used.configuration.key_file)
        except (config.ConfigException, OSError, ValueError) as error:
            raise ApiError(UNREACHABLE, f"credentials: {error}") from error


async def _connect(kubeconfig: Path | None, sockets: Callable[[Any], socket.socket]) -> client.ApiClient:
    """The official client, configured, with sockets made by `sockets`."""
    loaded = client.Configuration()
    try:
        await _configure(loaded, kubeconfig)
        made = client.ApiClient(loaded)
    except (config.ConfigException, OSError, ValueError) as error:
        raise ConfigurationError(f"--kubeconfig: {error}") from error
    connector = aiohttp.TCPConnector(ssl=made.rest_client.ssl_context, limit=0, socket_factory=sockets)
    made.rest_client.pool_manager = aiohttp.ClientSession(connector=connector, trust_env=True)
    return made


async def _configure(configuration: client.Configuration, kubeconfig: Path | None) -> None:
    """Read the configuration: a file, the pod's service account, or the user's kubeconfig."""
    if kubeconfig is None and "KUBERNETES_SERVICE_HOST" in os.environ:
        config.load_incluster_config(configuration)
        return
    file = str(kubeconfig) if kubeconfig else None
    try:
        await config.load_kube_config(file, client_configuration=configuration, persist_config=False)
    except (yaml.YAMLError, AttributeError, KeyError, TypeError) as error:
        # These are the errors of the client's loader for a malformed file.
        raise config.ConfigException(f"{file or 'the default'} is no kubeconfig: {error}") from error


async def _lines(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    lines = LineSplitter()
    async for chunk in response.content.iter_any():
        for line in lines.feed(chunk):
            yield line


def _abort(response: aiohttp.ClientResponse) -> None:
    """Abort a response that has not ended: the TLS close_notify would wait for a peer that may be gone."""
    if response.connection is not None and response.connection.transport is not None:
        response.connection.transport.abort()


async def _credentials(used: client.ApiClient) -> dict[str, str]:
    """The Authorization header; none with a client certificate."""
    settings = await used.configuration.auth_settings()
    return {found["key"]: found["value"] for found in settings.values() if found["value"]}
