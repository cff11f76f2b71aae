"""What microk8s prints when something is wrong, and what to do then."""

from __future__ import annotations

from labsupport.cluster.backends.signals import API_SIGNALS, Signal

NOT_INSTALLED = Signal(
    "", "microk8s is not installed", "install it: sudo snap install microk8s --classic; or use a kubeconfig: "
    "LABSUPPORT_BACKEND=kubeconfig, KUBECONFIG=FILE")
API_DOWN = Signal(
    r"connection refused|The connection to the server \S+ was refused|couldn't get current server API group list",
    "the API server of microk8s is down, or restarts", "wait a minute and try again; then: "
    "systemctl status snap.microk8s.daemon-kubelite")

SIGNALS = (
    Signal(r"Insufficient permissions to access MicroK8s", "this user may not use microk8s",
           "sudo usermod -a -G microk8s $USER (with a strict snap the group is snap_microk8s), then restart the "
           "Jupyter server: kernels keep the groups that it had"),
    Signal(r"microk8s is not running, try microk8s start", "microk8s is stopped", "run: microk8s start"),
    Signal(r"microk8s is not running\. Use microk8s inspect", "microk8s is not ready",
           "it may be starting: wait, microk8s status --wait-ready --timeout 120; or its node is cordoned: "
           "microk8s kubectl get nodes; or broken: sudo microk8s inspect"),
    Signal(r"This MicroK8s deployment is acting as a node in a cluster", "this machine is a worker of a microk8s "
           "cluster", "run the notebook on a machine of its control plane, or use its kubeconfig: "
           "LABSUPPORT_BACKEND=kubeconfig"),
    API_DOWN,
    Signal(r"x509: certificate is valid for .*, not ", "the certificate of microk8s is for another name or address",
           "use the kubeconfig of `microk8s config -l`, or an address that the certificate lists"),
    Signal(r"Elevated permissions are needed for this command", "this command of a strict microk8s needs root",
           "run it in a terminal with sudo, then open the cluster again"),
    Signal(r"This node does not have enough RAM", "microk8s does not start on less than 512 MB of memory",
           "use a machine with more memory"),
    Signal(r"Addon \S+ was not found in any repository", "microk8s knows no add-on of that name",
           "check the spelling, or add the community's: microk8s enable community"),
    Signal(r"is not a valid IP Range", "that is no range of addresses",
           "write it as FIRST-LAST: microk8s enable metallb 10.64.140.43-10.64.140.49"),
    Signal(r"sudo: (a terminal is required|a password is required|no tty present)|\[sudo\] password for",
           "this command of microk8s asks for a password", "run it in a terminal, then open the cluster again"),
)
LOCKS = {
    "stopped.lock": "microk8s is not running, try microk8s start",
    "clustered.lock": "This MicroK8s deployment is acting as a node in a cluster.",
    "low-memory-guard.lock": "This node does not have enough RAM",
}
"""Files that say the same as microk8s would after a while."""
PROXY_SIGNALS = (API_DOWN, *API_SIGNALS)
