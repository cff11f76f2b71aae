"""etcd, kube-apiserver, kube-controller-manager and kube-scheduler: what each is told, and with whose credential.

Source: the components' reference in the Kubernetes documentation; etcd documentation, "Configuration options".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from labsupport.cluster import numbers
from labsupport.cluster.kubeconfig import Credential, render_kubeconfig
from labsupport.cluster.paths import ADMIN, KUBERNETES
from labsupport.cluster.pki import Authority, new_key, private_pem, public_pem

PKI = f"{KUBERNETES}/pki"
ETCD_DATA = "/var/lib/etcd"
ETCD_PORT = 2379
ETCD_URL = f"https://127.0.0.1:{ETCD_PORT}"
ETCD_PEER_URL = "https://127.0.0.1:2380"
LOCAL_URL = f"https://127.0.0.1:{numbers.API_PORT}"
NODES_URL = f"https://{numbers.CONTROL_PLANE_ADDRESS}:{numbers.API_PORT}"
SERVER_NAMES = ("kubernetes", "kubernetes.default", "kubernetes.default.svc",
                f"kubernetes.default.svc.{numbers.CLUSTER_DOMAIN}", "localhost", "127.0.0.1",
                numbers.CONTROL_PLANE_ADDRESS, numbers.API_SERVICE_ADDRESS)
KUBELET_CLIENT = "kube-apiserver-kubelet-client"


@dataclass(frozen=True)
class Credentials:
    """Who can prove what in one cluster.

    Attributes:
        authority: signs the certificates of servers, components and users.
        admin: a member of system:masters; what the learner's kubectl uses.
        files: the control plane's files, path and content; all of them secret.
    """

    authority: Authority
    admin: Credential
    files: Mapping[str, bytes]


def make_credentials() -> Credentials:
    """Make the CAs, the certificates and the kubeconfigs of a control plane."""
    authority, front_proxy, etcd = (Authority(name) for name in ("kubernetes", "front-proxy", "etcd"))
    service_accounts = new_key()
    admin = authority.issue_client("kubernetes-admin", ["system:masters"])
    pairs = {
        "etcd-server": etcd.issue_server("etcd", ["localhost", "127.0.0.1"]),
        "apiserver-etcd-client": etcd.issue_client("kube-apiserver"),
        "apiserver": authority.issue_server("kube-apiserver", SERVER_NAMES),
        "apiserver-kubelet-client": authority.issue_client(KUBELET_CLIENT),
        "front-proxy-client": front_proxy.issue_client("front-proxy-client"),
        "controller-manager-server": authority.issue_server("kube-controller-manager", ["127.0.0.1"]),
        "scheduler-server": authority.issue_server("kube-scheduler", ["127.0.0.1"]),
    }
    files = {f"{PKI}/{name}.{kind}": data for name, pair in pairs.items()
             for kind, data in (("crt", pair.certificate), ("key", pair.key))}
    files |= {f"{PKI}/ca.crt": authority.certificate, f"{PKI}/ca.key": authority.key,
              f"{PKI}/etcd-ca.crt": etcd.certificate, f"{PKI}/front-proxy-ca.crt": front_proxy.certificate,
              f"{PKI}/sa.key": private_pem(service_accounts), f"{PKI}/sa.pub": public_pem(service_accounts)}
    for name in ("controller-manager", "scheduler"):
        user = f"system:kube-{name}"
        files[f"{KUBERNETES}/{name}.conf"] = render_kubeconfig(
            LOCAL_URL, authority.certificate, authority.issue_client(user), user=user).encode()
    files[ADMIN] = render_kubeconfig(NODES_URL, authority.certificate, admin, user="admin").encode()
    return Credentials(authority, admin, files)


def etcd_command(program: Path) -> list[str]:
    """Return etcd's command line. It does not wait for the disk: a lab's cluster does not outlive its machine."""
    tls = [option for peer in ("", "peer-") for option in (
        f"--{peer}client-cert-auth", f"--{peer}trusted-ca-file={PKI}/etcd-ca.crt",
        f"--{peer}cert-file={PKI}/etcd-server.crt", f"--{peer}key-file={PKI}/etcd-server.key")]
    return [str(program), "--name=etcd", f"--data-dir={ETCD_DATA}", "--unsafe-no-fsync", *tls,
            f"--listen-client-urls={ETCD_URL}", f"--advertise-client-urls={ETCD_URL}",
            f"--listen-peer-urls={ETCD_PEER_URL}", f"--initial-advertise-peer-urls={ETCD_PEER_URL}",
            f"--initial-cluster=etcd={ETCD_PEER_URL}", "--enable-grpc-gateway=false", "--log-level=warn"]


def apiserver_command(program: Path) -> list[str]:
    """Return kube-apiserver's command line."""
    return [
        str(program), f"--secure-port={numbers.API_PORT}", f"--advertise-address={numbers.CONTROL_PLANE_ADDRESS}",
        f"--etcd-servers={ETCD_URL}", f"--etcd-cafile={PKI}/etcd-ca.crt",
        f"--etcd-certfile={PKI}/apiserver-etcd-client.crt", f"--etcd-keyfile={PKI}/apiserver-etcd-client.key",
        f"--tls-cert-file={PKI}/apiserver.crt", f"--tls-private-key-file={PKI}/apiserver.key",
        f"--client-ca-file={PKI}/ca.crt", "--anonymous-auth=false",
        "--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
        f"--kubelet-certificate-authority={PKI}/ca.crt",
        f"--kubelet-client-certificate={PKI}/apiserver-kubelet-client.crt",
        f"--kubelet-client-key={PKI}/apiserver-kubelet-client.key",
        "--kubelet-preferred-address-types=InternalIP",
        f"--requestheader-client-ca-file={PKI}/front-proxy-ca.crt", "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-", "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-username-headers=X-Remote-User", "--enable-aggregator-routing=true",
        f"--proxy-client-cert-file={PKI}/front-proxy-client.crt",
        f"--proxy-client-key-file={PKI}/front-proxy-client.key",
        f"--service-account-issuer=https://kubernetes.default.svc.{numbers.CLUSTER_DOMAIN}",
        f"--service-account-key-file={PKI}/sa.pub", f"--service-account-signing-key-file={PKI}/sa.key",
        f"--service-cluster-ip-range={numbers.SERVICE_CIDR}", "--service-node-port-range=30000-32767",
        "--allow-privileged=true", "--profiling=false",
    ]


def controller_manager_command(program: Path) -> list[str]:
    """Return kube-controller-manager's command line.

    A dead node is noticed after 8 s instead of 50: a lab's network loses no heartbeats, and a learner waits.
    """
    return [
        str(program), f"--kubeconfig={KUBERNETES}/controller-manager.conf", "--bind-address=127.0.0.1",
        f"--authentication-kubeconfig={KUBERNETES}/controller-manager.conf",
        f"--authorization-kubeconfig={KUBERNETES}/controller-manager.conf",
        f"--tls-cert-file={PKI}/controller-manager-server.crt",
        f"--tls-private-key-file={PKI}/controller-manager-server.key",
        f"--root-ca-file={PKI}/ca.crt", f"--service-account-private-key-file={PKI}/sa.key",
        f"--cluster-signing-cert-file={PKI}/ca.crt", f"--cluster-signing-key-file={PKI}/ca.key",
        "--use-service-account-credentials=true", "--leader-elect=false",
        f"--service-cluster-ip-range={numbers.SERVICE_CIDR}", f"--cluster-cidr={numbers.POD_CIDR}",
        "--allocate-node-cidrs=false", "--node-monitor-grace-period=8s", "--node-monitor-period=1s",
        "--kube-api-qps=500", "--kube-api-burst=1000", "--profiling=false",
    ]


def scheduler_command(program: Path) -> list[str]:
    """Return kube-scheduler's command line."""
    return [
        str(program), f"--kubeconfig={KUBERNETES}/scheduler.conf", "--bind-address=127.0.0.1",
        f"--authentication-kubeconfig={KUBERNETES}/scheduler.conf",
        f"--authorization-kubeconfig={KUBERNETES}/scheduler.conf",
        f"--tls-cert-file={PKI}/scheduler-server.crt", f"--tls-private-key-file={PKI}/scheduler-server.key",
        "--leader-elect=false", "--kube-api-qps=500", "--kube-api-burst=1000", "--profiling=false",
    ]
