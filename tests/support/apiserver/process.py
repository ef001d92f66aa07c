"""A real etcd and kube-apiserver with a folder, ports and certificates of their own, on loopback unless told otherwise.

Both die with the process that started them, also when that is killed (prctl(2), PR_SET_PDEATHSIG).
"""

import json
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import builds
import cache
import packages

from support.apiserver.certificates import Issued

PATIENCE = 60.0
SERVICE_RANGE = "10.96.0.0/16"
LOOPBACK = "127.0.0.1"


def etcd() -> Path:
    """Debian's etcd. Raises `LookupError` when the cache does not have it."""
    return cache.found(packages.debian_folder("etcd-server")) / "usr/bin/etcd"


def server() -> Path:
    """The kube-apiserver. Raises `LookupError` when the cache does not have it."""
    return builds.built(builds.KUBERNETES, "kube-apiserver")


def free_ports(count: int) -> list[int]:
    """Free TCP ports."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Cluster:
    """One API server, at an address of this machine, and its etcd."""

    def __init__(
        self, folder: Path, address: str = LOOPBACK, options: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        """`options` are more of kube-apiserver's."""
        self.folder, self.address, self._options = folder, address, options
        self._issued = Issued(folder / "pki")
        self._etcd_port, self._peer_port, self.port = free_ports(3)
        self._etcd: subprocess.Popen[bytes] | None = None
        self._server: subprocess.Popen[bytes] | None = None
        (folder / "tokens.csv").write_text("")

    @property
    def url(self) -> str:
        return f"https://{self.address}:{self.port}"

    @property
    def alive(self) -> bool:
        return self._server is not None

    def start(self) -> None:
        """Start what is not running, and wait until it serves."""
        self._etcd = self._etcd or self._run(etcd(), self._etcd_arguments())
        self._server = self._server or self._run(server(), self._server_arguments())
        self._wait()

    def kill_server(self) -> None:
        """Kill the kube-apiserver with SIGKILL, like a crash."""
        _end(self._server)
        self._server = None

    def stop(self) -> None:
        self.kill_server()
        _end(self._etcd)
        self._etcd = None

    def kubeconfig(self, user: str = "admin", organisation: str = "system:masters", token: Path | None = None) -> Path:
        """A kubeconfig for a user, by client certificate or by a file with a token."""
        name = f"kubeconfig-{user}"
        credentials: dict[str, Any] = {"tokenFile": str(token)}
        if token is None:
            key, certificate = self._issued.issue(user, user, organisation)
            credentials = {"client-certificate": str(certificate), "client-key": str(key)}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": self.url, "certificate-authority": str(self.ca)}}],
            "users": [{"name": "u", "user": credentials}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        }
        path = self.folder / name
        path.write_text(json.dumps(document))
        return path

    @property
    def ca(self) -> Path:
        return self._issued.certificate

    def allow_token(self, token: str, user: str) -> None:
        """Accept only this token, from the next start on."""
        (self.folder / "tokens.csv").write_text(f'{token},{user},{user},"system:masters"\n')

    def request(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> Any:
        """Ask as an administrator; returns the decoded answer. Raises `urllib.error.HTTPError`, with what was answered
        as a note.
        """
        key, certificate = self._issued.issue("admin", "admin", "system:masters")
        context = ssl.create_default_context(cafile=str(self.ca))
        context.load_cert_chain(certificate, key)
        data = None if body is None else json.dumps(body).encode()
        prepared = urllib.request.Request(f"{self.url}{path}", data, {"Content-Type": kind}, method=method)
        try:
            with urllib.request.urlopen(prepared, context=context, timeout=10) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            error.add_note(error.read().decode(errors="replace"))
            error.close()  # it holds the connection
            raise
        return json.loads(text) if text[:1] in (b"{", b"[") else text.decode()

    def refusal(self, path: str, document: Any) -> str:
        """Why the server does not create an object at a path, because it is not valid; empty when it does. Raises
        `urllib.error.HTTPError` for other errors.
        """
        try:
            self.request("POST", path, document)
        except urllib.error.HTTPError as error:
            if error.code not in (400, 422):
                raise
            return str(error.__notes__[0])
        return ""

    def _wait(self) -> None:
        assert self._server is not None
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if self._server.poll() is not None:
                break
            try:
                self.request("GET", "/readyz")
            except (OSError, urllib.error.URLError):
                time.sleep(0.1)
            else:
                return
        raise RuntimeError(
            f"kube-apiserver does not come up:\n{(self.folder / 'kube-apiserver.log').read_text()[-3000:]}"
        )

    def _run(self, binary: Path, arguments: dict[str, str]) -> subprocess.Popen[bytes]:
        command = [
            "setpriv",
            "--pdeathsig",
            "KILL",
            str(binary),
            *(f"--{key}={value}" for key, value in arguments.items()),
        ]
        with (self.folder / f"{binary.name}.log").open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def _etcd_arguments(self) -> dict[str, str]:
        client, peer = f"http://127.0.0.1:{self._etcd_port}", f"http://127.0.0.1:{self._peer_port}"
        return {
            "data-dir": str(self.folder / "etcd"),
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": f"default={peer}",
            "unsafe-no-fsync": "true",
        }

    def _server_arguments(self) -> dict[str, str]:
        key, certificate = self._issued.issue("server", "kube-apiserver", hosts=(self.address, "localhost"))
        return {
            "etcd-servers": f"http://127.0.0.1:{self._etcd_port}",
            "bind-address": self.address,
            "secure-port": str(self.port),
            "tls-cert-file": str(certificate),
            "tls-private-key-file": str(key),
            "client-ca-file": str(self.ca),
            "token-auth-file": str(self.folder / "tokens.csv"),
            "service-account-issuer": self.url,
            "service-account-key-file": str(certificate),
            "service-account-signing-key-file": str(key),
            "service-cluster-ip-range": SERVICE_RANGE,
            "authorization-mode": "RBAC",
            "disable-admission-plugins": "ServiceAccount",
            "profiling": "false",
            **self._options,
        }


def _end(process: subprocess.Popen[bytes] | None) -> None:
    if process is not None:
        process.kill()
        process.wait()
