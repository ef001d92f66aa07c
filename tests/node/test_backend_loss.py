"""A backend leaves while clients are connected to it, and goes on answering: nobody may stay with it.

`never` connects once and never again, as QUIC and DTLS clients do; nginx asks a name server through one UDP socket.
"""

import json
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from packages import debian

from agent.lab import lifecycle
from support.node.lab_handle import LabFactory, LabHandle
from support.node.mesh import settle

pytestmark = pytest.mark.node

HERE = Path(__file__).parent
CLIENT, PROXY = "app/client", "app/proxy"
SERVICE = """
apiVersion: v1
kind: Service
metadata: {{name: names, namespace: app, annotations: {annotations}}}
spec:
  clusterIP: 10.96.7.7
  selector: {{app: names, version: {version}}}
  ports:
  - {{name: tcp, port: 9090}}
  - {{name: udp, port: 9091, protocol: UDP}}
  - {{name: dns, port: 53, targetPort: 5353, protocol: UDP}}
"""
NEVER = """
import errno, json, socket, sys, time
kind = socket.SOCK_DGRAM if sys.argv[1] == "udp" else socket.SOCK_STREAM
made = socket.socket(socket.AF_INET, kind)
made.settimeout(5)
made.connect(("names.app", {"udp": 9091, "tcp": 9090}[sys.argv[1]]))
print(json.dumps("connected"), flush=True)
while True:
    try:
        made.send(b"x\\n")
        print(json.dumps(json.loads(made.recv(4096))["pod"].split("-")[0]), flush=True)
    except OSError as error:
        print(json.dumps(errno.errorcode[error.errno]), flush=True)
        break
    time.sleep(0.02)
"""
NAMES = """
import socketserver, sys
from dnslib import QTYPE, RR, A, DNSRecord
class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        data, sock = self.request
        question = DNSRecord.parse(data)
        answer = question.reply()
        if question.q.qtype == QTYPE.A:
            answer.add_answer(RR(question.q.qname, QTYPE.A, rdata=A(sys.argv[1]), ttl=0))
        sock.sendto(answer.pack(), self.client_address)
socketserver.ThreadingUDPServer(("0.0.0.0", 5353), Handler).serve_forever()
"""
NGINX = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    server {{ listen 127.0.0.1:8080; location / {{ return 200 one; }} }}
    server {{ listen 127.0.0.2:8080; location / {{ return 200 two; }} }}
    resolver 10.96.7.7 valid=1s ipv6=off;
    resolver_timeout 2s;
    server {{ listen 127.0.0.1:80; location / {{ set $name where.test; proxy_pass http://$name:8080; }} }}
}}
"""


@pytest.fixture(scope="module")
def mesh(make_lab: LabFactory) -> LabHandle:
    """The pods, with the first name server in the Service."""
    return make_lab("loss", [HERE / "backend_loss.yaml"], agent=True)


def choose(mesh: LabHandle, version: str, annotations: str = "{}") -> None:
    """The Service's backends are those of this version, and the kernel knows."""
    mesh.apply(SERVICE.format(version=version, annotations=annotations))
    address = next(pod["addresses"][0] for pod in mesh.status()["pods"] if pod["pod"].startswith(f"app/{version}-"))

    def is_there(status) -> bool:
        found = [item["backends"] for item in status["frontends"] if item["service"] == "app/names"]
        return len(found) == 3 and all(item and item[0]["backend"].startswith(f"{address}:") for item in found)

    settle(mesh, is_there)


def start(mesh: LabHandle, pod: str, *argv: str) -> subprocess.Popen[str]:
    """A process of a pod, whose lines are read as they come."""
    command, environment = lifecycle.exec_command(mesh.paths, pod, argv)
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def printed(process: subprocess.Popen[str], *until: str) -> list[str]:
    """What a client says until it says one of these."""
    assert process.stdout is not None
    found = []
    for line in process.stdout:
        found.append(json.loads(line))
        if found[-1] in until:
            break
    return found


def sockets_ended(mesh: LabHandle, protocol: str) -> float:
    """The agent's count of sockets that it ended because their backend left."""
    text = mesh.node("curl", "-sS", "http://127.0.0.1:9464/metrics").stdout
    found = re.search(rf'^weft_sockets_terminated_total{{protocol="{protocol}"}} (\S+)', text, re.MULTILINE)
    return float(found[1]) if found else 0.0


@pytest.mark.parametrize(
    ("protocol", "annotations"), [("udp", "{}"), ("tcp", "{weft.dev/on-backend-loss: reset}")], ids=["udp", "tcp-reset"]
)
def test_a_client_that_never_reconnects_is_told(protocol: str, annotations: str, mesh: LabHandle) -> None:
    choose(mesh, "one", annotations)
    ended = sockets_ended(mesh, protocol)
    with start(mesh, CLIENT, sys.executable, "-c", NEVER, protocol) as client:
        assert printed(client, "one") == ["connected", "one"]
        choose(mesh, "two", annotations)
        *before, last = printed(client, "ECONNABORTED", "EDESTADDRREQ", "ECONNRESET", "EPIPE", "two")
    assert set(before) <= {"one"}
    assert last in ("ECONNABORTED", "EDESTADDRREQ")
    mesh.wait_for("it is counted", lambda: sockets_ended(mesh, protocol) == ended + 1)


def test_tcp_stays_where_nothing_else_is_asked_for(mesh: LabHandle) -> None:
    choose(mesh, "one")
    with start(mesh, CLIENT, sys.executable, "-c", NEVER, "tcp") as tcp:
        with start(mesh, CLIENT, sys.executable, "-c", NEVER, "udp") as udp:
            assert printed(tcp, "one") == printed(udp, "one") == ["connected", "one"]
            choose(mesh, "two")
            printed(udp, "ECONNABORTED", "EDESTADDRREQ")
        printed(tcp, "one")
        assert tcp.poll() is None
        tcp.send_signal(signal.SIGKILL)


@pytest.fixture
def resolving(mesh: LabHandle, tmp_path: Path) -> Iterator[None]:
    """Two name servers that know one name, by different addresses; nginx that asks for it."""
    choose(mesh, "one")
    (tmp_path / "nginx.conf").write_text(textwrap.dedent(NGINX.format(folder=tmp_path)))
    nginx = str(debian("nginx") / "usr/sbin/nginx")
    running = [
        start(mesh, "app/one", sys.executable, "-c", NAMES, "127.0.0.1"),
        start(mesh, "app/two", sys.executable, "-c", NAMES, "127.0.0.2"),
        start(mesh, PROXY, nginx, "-e", str(tmp_path / "error.log"), "-c", str(tmp_path / "nginx.conf")),
    ]
    yield
    for process in running:
        process.terminate()
        process.communicate()


def test_nginx_asks_the_name_server_that_is_there(resolving: None, mesh: LabHandle) -> None:
    def answer() -> str:
        return mesh.exec(PROXY, "curl", "-sS", "-m", "5", "http://127.0.0.1/", check=False).stdout

    mesh.wait_for("nginx resolves", lambda: answer() == "one")
    choose(mesh, "two")
    mesh.wait_for("nginx asks the other", lambda: answer() == "two")
    assert {answer() for _ in range(20)} == {"two"}
