"""The real kube-proxy, in nftables mode, for the Services of a lab. Its rules replace those of the lab."""

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from agent.lab import lifecycle
from agent.lab.families import IPV4
from agent.lab.paths import NODE_NAME
from bench.lab import BUILD, Lab

CACHE = Path(os.environ.get("WEFT_CACHE", "/var/cache/weft"))
PORT = 16443
PATIENCE = 120.0
ELEMENT = "{ 10.96.0.101 . tcp . 9001 }"


def started(lab: Lab) -> str:
    """Have kube-proxy write its rules; they stay when it has ended. Returns why it did not, or nothing."""
    program = max(CACHE.glob("kubernetes-*-kube-proxy/kube-proxy"), default=None)
    if program is None:
        return "kube-proxy is not built: `python tests/cluster/prepare.py bench` does so"
    with ExitStack() as running:
        api = [sys.executable, "-m", "bench.api_server", str(PORT), lab.paths.name]
        for name, argv in (("api", api), ("kube-proxy", [str(program), f"--config={_config()}"])):
            log = running.enter_context(lab.paths.log(name).open("wb"))
            command = lifecycle.node_command(lab.paths, argv)
            process = running.enter_context(subprocess.Popen(command, stdout=log, stderr=log))
            running.callback(process.kill)
        try:
            lifecycle.wait_for("kube-proxy has written its rules", lambda: _has_rules(lab), PATIENCE)
        except lifecycle.LabError as error:
            return str(error)
    _nft(lab, "delete", "table", "ip", "services")
    return ""


def _config() -> Path:
    """Its configuration, as tests/cluster has it, with an API server on the node's loopback."""
    cluster = {"name": "lab", "cluster": {"server": f"http://127.0.0.1:{PORT}"}}
    context = {"name": "lab", "context": {"cluster": "lab", "user": ""}}
    access = {"apiVersion": "v1", "kind": "Config", "current-context": "lab"}
    kubeconfig = BUILD / "kube-proxy.kubeconfig"
    kubeconfig.write_text(json.dumps({**access, "clusters": [cluster], "contexts": [context]}))
    json_only = {"contentType": "application/json", "acceptContentTypes": "application/json"}
    config = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(kubeconfig), **json_only},
        "mode": "nftables",
        "clusterCIDR": str(IPV4.pods),
        "hostnameOverride": NODE_NAME,
        "oomScoreAdj": 0,
        # Sizes and times of connection tracking are the machine's, not a namespace's: zero leaves them.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }
    file = BUILD / "kube-proxy.json"
    file.write_text(json.dumps(config))
    return file


def _has_rules(lab: Lab) -> bool:
    return _nft(lab, "get", "element", "ip", "kube-proxy", "service-ips", ELEMENT) == 0


def _nft(lab: Lab, *arguments: str) -> int:
    command = lifecycle.node_command(lab.paths, ["nft", *arguments])
    return subprocess.run(command, capture_output=True, check=False).returncode
