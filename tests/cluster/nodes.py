"""A node: containerd, kubelet, kube-proxy, and a CNI of a bridge with addresses from a file.

The settings that look odd are what a machine without CAP_SYS_RESOURCE, with cgroups of version 1, and shared with
others needs: no process may get a lower oom_score_adj, no sysctl of the machine may change.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import builds
import images
import layout
import machines
import packages
from certificates import Authority, kubeconfig
from layout import Node
from machines import Daemon, Description

SOCKET = "/run/containerd/containerd.sock"
STATIC_PODS = "/etc/kubernetes/manifests"
# The kubelet insists on these values and writes them; it finds them in files that lie over the machine's own.
_KUBELETS_SYSCTLS = {
    "vm.overcommit_memory": "1\n",
    "vm.panic_on_oom": "0\n",
    "kernel.panic": "10\n",
    "kernel.panic_on_oops": "1\n",
    "kernel.keys.root_maxkeys": "1000000\n",
    "kernel.keys.root_maxbytes": "25000000\n",
}


def start(node: Node, authority: Authority, archives: Sequence[Path]) -> None:
    """Start the node, with the images in `archives`."""
    files = _files(node, authority)
    daemons = (
        Daemon("containerd", (_containerd("containerd"),), then=tuple(import_command(path) for path in archives)),
        Daemon(
            "kubelet",
            (
                str(builds.program(builds.KUBERNETES, "kubelet")),
                "--config=/etc/kubernetes/kubelet.json",
                "--kubeconfig=/etc/kubernetes/kubelet.kubeconfig",
                f"--hostname-override={node.name}",
                f"--node-ip={','.join(node.addresses)}",
            ),
            after=str(layout.READY),
        ),
        Daemon(
            "kube-proxy",
            (str(builds.program(builds.KUBERNETES, "kube-proxy")), "--config=/etc/kubernetes/kube-proxy.json"),
        ),
    )
    programs = [packages.debian("containerd") / "usr/bin", packages.debian("runc") / "usr/sbin"]
    path = ":".join([*map(str, programs), os.environ["PATH"]])
    disks = ("/var/lib/containerd", "/var/lib/kubelet")
    machines.start(
        node, Description(daemons, disks=disks, files=files, sysctls=_KUBELETS_SYSCTLS, environment={"PATH": path})
    )


def import_command(archive: Path) -> tuple[str, ...]:
    """What imports an image archive, on the node."""
    return (*ctr(), "images", "import", str(archive))


def ctr() -> tuple[str, ...]:
    """`ctr` of the node's containerd, as a command on the node."""
    return (_containerd("ctr"), f"--address={SOCKET}", "--namespace=k8s.io")


def api_object(node: Node) -> dict[str, Any]:
    """The Node with its pods' network, made before the kubelet registers: no controller hands out networks."""
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": node.name, "labels": {"kubernetes.io/hostname": node.name}},
        "spec": {"podCIDR": str(node.pods), "podCIDRs": node.pod_networks},
    }


def _containerd(program: str) -> str:
    return str(packages.debian("containerd") / "usr/bin" / program)


def _files(node: Node, authority: Authority) -> dict[str, str]:
    """The node's configuration, by path."""
    kubelet = authority.issue(f"system:node:{node.name}", ("system:nodes",), (node.name, str(node.address)))
    proxy = authority.issue("system:kube-proxy")
    return {
        "/etc/resolv.conf": "",
        "/etc/hostname": f"{node.name}\n",
        f"{STATIC_PODS}/.folder": "",
        "/etc/cni/net.d/10-pods.conflist": json.dumps(_cni(node)),
        "/etc/containerd/config.toml": _containerd_config(),
        "/etc/kubernetes/ca.crt": authority.certificate.decode(),
        "/etc/kubernetes/kubelet.crt": kubelet.certificate.decode(),
        "/etc/kubernetes/kubelet.key": kubelet.key.decode(),
        "/etc/kubernetes/kubelet.json": json.dumps(_kubelet_config(node)),
        "/etc/kubernetes/kubelet.kubeconfig": kubeconfig(authority, layout.API_ADDRESS, kubelet),
        "/etc/kubernetes/kube-proxy.json": json.dumps(_proxy_config(node)),
        "/etc/kubernetes/kube-proxy.kubeconfig": kubeconfig(authority, layout.API_ADDRESS, proxy),
    }


def _cni(node: Node) -> dict[str, Any]:
    addresses = {
        "type": "host-local",
        "ranges": [[{"subnet": network}] for network in node.pod_networks],
        "routes": [{"dst": network} for network in layout.families("0.0.0.0/0", "::/0")],
    }
    bridge = {"type": "bridge", "bridge": "cni0", "isGateway": True, "hairpinMode": True, "ipam": addresses}
    return {"cniVersion": "1.0.0", "name": "pods", "plugins": [bridge]}


def _containerd_config() -> str:
    plugins = packages.debian("containernetworking-plugins") / "usr/lib/cni"
    runc = packages.debian("runc") / "usr/sbin/runc"
    return f"""\
version = 2
oom_score = 0
[grpc]
address = "{SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{images.PAUSE}"
restrict_oom_score_adj = true
disable_apparmor = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{plugins}"
conf_dir = "/etc/cni/net.d"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
BinaryName = "{runc}"
SystemdCgroup = false
"""


def _kubelet_config(node: Node) -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": "/etc/kubernetes/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": "/etc/kubernetes/kubelet.crt",
        "tlsPrivateKeyFile": "/etc/kubernetes/kubelet.key",
        "containerRuntimeEndpoint": f"unix://{SOCKET}",
        "clusterDomain": layout.DOMAIN,
        "staticPodPath": STATIC_PODS,
        "clusterDNS": [str(layout.DNS_SERVICE)],
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": node.cgroup,
        "enforceNodeAllocatable": ["pods"],
        "failCgroupV1": False,
        "failSwapOn": False,
        "oomScoreAdj": 0,
        # Other work shares the disk: pods are not evicted, nor images deleted, because it is full.
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
    }


def _proxy_config(node: Node) -> dict[str, Any]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": "/etc/kubernetes/kube-proxy.kubeconfig"},
        "mode": "nftables",
        "clusterCIDR": ",".join(layout.families(layout.POD_NETWORK, layout.POD_NETWORK6)),
        "hostnameOverride": node.name,
        "oomScoreAdj": 0,
        # Sizes and times of connection tracking are the machine's, not a namespace's: zero leaves them.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }
