"""Un-enrolled pods reach Services as in any cluster: by name, through the node's rules, in every protocol."""

import json
import sys

import pytest

pytestmark = pytest.mark.node


def test_service_by_name_reaches_its_pods(lab):
    seen = {lab.curl("faces/face", "http://smiley/x?y=1")["pod"].rsplit("-", 2)[0] for _ in range(40)}
    assert seen == {"smiley-v1", "smiley-v2"}


def test_the_server_sees_the_client_pod_and_the_request_as_sent(lab):
    answer = lab.curl("fast-clients/client", "http://smiley-v2.faces/a%2Fb?q=%20", "-H", "X-MiXed: Yes")
    client = next(pod for key, pod in lab.store.load().items() if key.kind == "Pod" and key.namespace == "fast-clients")
    assert answer["peer"].split(":")[0] == client["status"]["podIP"]
    assert answer["path"] == "/a%2Fb?q=%20"
    assert ["X-MiXed", "Yes"] in answer["headers"]
    assert answer["namespace"] == "faces"


@pytest.mark.parametrize("name", ["smiley", "smiley.faces", "smiley.faces.svc", "smiley.faces.svc.cluster.local"])
def test_names_resolve_to_the_cluster_ip(lab, name):
    address = lab.python("faces/face", f"import socket; print(socket.gethostbyname({name!r}))").strip()
    assert address == lab.get("Service", "faces", "smiley")["spec"]["clusterIP"]


def test_unknown_names_do_not_exist_and_aaaa_is_empty(lab):
    program = """
from dnslib import DNSRecord
domain = "faces.svc.cluster.local"
for name, kind, tcp in ((f"nobody.{domain}", "A", False), (f"smiley.{domain}", "AAAA", True)):
    reply = DNSRecord.parse(DNSRecord.question(name, kind).send("10.96.0.10", 53, tcp=tcp, timeout=5))
    print(reply.header.rcode, len(reply.rr))
"""
    assert lab.python("faces/face", program).split() == ["3", "0", "0", "0"]


def test_http2_with_prior_knowledge(lab):
    answer = lab.curl("faces/face", "http://smiley/h2", "--http2-prior-knowledge")
    assert (answer["protocol"], answer["path"], answer["host"]) == ("http/2", "/h2", "smiley")


def test_grpc_answers_any_method_with_a_status(lab):
    program = """
import grpc
with grpc.insecure_channel("smiley:7070") as channel:
    call = channel.unary_unary("/faces.Smiley/Center")
    reply = call(b"", timeout=5)
    print(reply.decode().strip())
    try:
        call(b"", metadata=(("x-echo-status", "14"),), timeout=5)
    except grpc.RpcError as error:
        print(error.code().name)
"""
    answer, code = lab.python("faces/face", program).splitlines()
    assert json.loads(answer)["protocol"] == "grpc"
    assert json.loads(answer)["path"] == "/faces.Smiley/Center"
    assert code == "UNAVAILABLE"


def test_tcp_and_udp(lab):
    program = """
import socket
tcp = socket.create_connection(("smiley", 9090), 5)
tcp.sendall(b"one\\n")
print(tcp.makefile().readline().strip())
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.settimeout(5)
udp.sendto(b"two", ("smiley", 9091))
data, peer = udp.recvfrom(4096)
print(data.decode())
print(peer[0])
"""
    tcp, udp, peer = lab.python("faces/face", program).splitlines()
    assert (json.loads(tcp)["protocol"], json.loads(tcp)["data"]) == ("tcp", "one")
    assert (json.loads(udp)["protocol"], json.loads(udp)["data"]) == ("udp", "two")
    assert peer == lab.get("Service", "faces", "smiley")["spec"]["clusterIP"]


def test_controls(lab):
    code = ("-o", "/dev/null", "-w", "%{http_code}")
    assert lab.exec("faces/face", "curl", "-sS", *code, "http://smiley/?status=503").stdout == "503"
    assert lab.exec("faces/face", "curl", "-sS", "http://smiley/?close=1", check=False).returncode == 52
    assert lab.exec("faces/face", "curl", "-sS", "-m", "0.5", "http://smiley/?wait=9", check=False).returncode == 28
    assert len(lab.exec("faces/face", "curl", "-sS", "http://smiley/?body=100000").stdout) > 100_000


def test_a_pod_reaches_itself_through_its_service(lab):
    answer = lab.curl("faces/smiley-v1", "http://smiley-v1/")
    assert answer["pod"].startswith("smiley-v1-")


def test_exec_is_in_the_pod(lab):
    assert lab.exec("faces/face", "cat", "/etc/hostname", "/proc/sys/kernel/hostname").stdout.split()[0][:5] == "face-"
    cgroup = lab.exec("faces/face", "cat", "/proc/self/cgroup").stdout
    uid = next(pod["metadata"]["uid"] for key, pod in lab.store.load().items() if key.name.startswith("face-"))
    assert f"/weft-{lab.paths.name}/kubepods/besteffort/pod{uid}/main" in cgroup
    assert lab.exec("faces/face", "sh", "-c", "exit 42", check=False).returncode == 42
    assert lab.exec("faces/face", sys.executable, "-c", "pass").stdout == ""
