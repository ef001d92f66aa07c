"""The control plane: etcd, kube-apiserver, kube-controller-manager, kube-scheduler, on a machine of their own."""

from pathlib import Path

import builds
import layout
import machines
import packages
from certificates import Authority, kubeconfig, signing_key
from layout import CONTROL_PLANE
from machines import Daemon, Description

AUDIT_LOG = CONTROL_PLANE.folder / "audit.log"
_CLIENTS = {
    "admin": ("weft-admin", ("system:masters",)),
    "controller-manager": ("system:kube-controller-manager", ()),
    "scheduler": ("system:kube-scheduler", ()),
}
_ETCD = "http://127.0.0.1:2379"
# What weft asks of the API server, by which its permissions are judged.
AUDIT_POLICY = """
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
    userGroups: ["system:serviceaccounts:weft-system"]
  - level: None
"""


def start(authority: Authority, credentials: Path) -> None:
    """Start the machine; `credentials` is the folder for its keys and kubeconfig files."""
    _write_credentials(authority, credentials)
    clients = {name: str(credentials / f"{name}.kubeconfig") for name in _CLIENTS}
    daemons = (
        Daemon("etcd", _etcd()),
        Daemon("kube-apiserver", (_program("kube-apiserver"), *_apiserver(credentials))),
        Daemon(
            "kube-controller-manager",
            (_program("kube-controller-manager"), *_controllers(credentials, clients["controller-manager"])),
            after=str(layout.READY),
        ),
        Daemon(
            "kube-scheduler",
            (_program("kube-scheduler"), *_alone(clients["scheduler"])),
            after=str(layout.READY),
        ),
    )
    (credentials / "audit-policy.yaml").write_text(AUDIT_POLICY)
    machines.start(CONTROL_PLANE, Description(daemons, disks=("/var/lib/etcd",)))


def _program(name: str) -> str:
    return str(builds.program(builds.KUBERNETES, name))


def _write_credentials(authority: Authority, folder: Path) -> None:
    (folder / "ca.crt").write_bytes(authority.certificate)
    (folder / "service-accounts.key").write_bytes(signing_key())
    services = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", f"kubernetes.default.svc.{layout.DOMAIN}")
    addresses = (*services, "localhost", "127.0.0.1", str(CONTROL_PLANE.address), str(layout.API_SERVICE))
    authority.issue("kube-apiserver", addresses=addresses).write(folder, "apiserver")
    authority.issue("kube-apiserver", ("system:masters",)).write(folder, "kubelet-client")
    for name, (user, groups) in _CLIENTS.items():
        content = kubeconfig(authority, layout.API_ADDRESS, authority.issue(user, groups))
        (folder / f"{name}.kubeconfig").write_text(content)


def _etcd() -> tuple[str, ...]:
    return (
        str(packages.debian("etcd-server") / "usr/bin/etcd"),
        "--data-dir=/var/lib/etcd",
        f"--listen-client-urls={_ETCD}",
        f"--advertise-client-urls={_ETCD}",
        "--listen-peer-urls=http://127.0.0.1:2380",
        "--unsafe-no-fsync",  # the cluster does not outlive the machine anyway
    )


def _apiserver(credentials: Path) -> tuple[str, ...]:
    return (
        f"--etcd-servers={_ETCD}",
        f"--advertise-address={CONTROL_PLANE.address}",
        f"--secure-port={layout.API_PORT}",
        f"--service-cluster-ip-range={','.join(layout.families(layout.SERVICE_NETWORK, layout.SERVICE_NETWORK6))}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        f"--client-ca-file={credentials}/ca.crt",
        f"--tls-cert-file={credentials}/apiserver.crt",
        f"--tls-private-key-file={credentials}/apiserver.key",
        f"--kubelet-certificate-authority={credentials}/ca.crt",
        f"--kubelet-client-certificate={credentials}/kubelet-client.crt",
        f"--kubelet-client-key={credentials}/kubelet-client.key",
        "--kubelet-preferred-address-types=InternalIP",
        f"--service-account-issuer=https://kubernetes.default.svc.{layout.DOMAIN}",
        f"--service-account-key-file={credentials}/service-accounts.key",
        f"--service-account-signing-key-file={credentials}/service-accounts.key",
        f"--audit-policy-file={credentials}/audit-policy.yaml",
        f"--audit-log-path={AUDIT_LOG}",
    )


def _controllers(credentials: Path, kubeconfig_file: str) -> tuple[str, ...]:
    return (
        *_alone(kubeconfig_file),
        f"--root-ca-file={credentials}/ca.crt",
        f"--service-account-private-key-file={credentials}/service-accounts.key",
        "--use-service-account-credentials=true",
    )


def _alone(kubeconfig_file: str) -> tuple[str, ...]:
    return (f"--kubeconfig={kubeconfig_file}", "--leader-elect=false", "--bind-address=127.0.0.1")
