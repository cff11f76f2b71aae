"""microk8s, understood by what its scripts print; a stand-in prints it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from microk8s_standin import PRINTS, StandIn

from labsupport.cluster.backends import microk8s as driver
from labsupport.cluster.backends.microk8s import Microk8s, Status
from labsupport.cluster.backends.microk8s_signals import PROXY_SIGNALS
from labsupport.cluster.backends.signals import explained
from labsupport.errors import ClusterError
from labsupport.waiting import wait_until

LIMIT_S = 20.0
STATUS = "status --format yaml"


@pytest.fixture
def standin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    made = StandIn(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{made.folder}:{os.environ['PATH']}")
    return made


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def microk8s(standin: StandIn, said: list[str], tmp_path: Path) -> Microk8s:
    return Microk8s(said.append, tmp_path / "data")


def test_a_missing_microk8s_is_installed_or_replaced_by_a_kubeconfig(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ClusterError, match="microk8s is not installed") as caught:
        Microk8s(print)
    assert "snap install microk8s" in caught.value.next_step
    assert "LABSUPPORT_BACKEND=kubeconfig" in caught.value.next_step


# The table of MICROK8S.md: what is printed, with which exit status, and what the reader is told.
@pytest.mark.parametrize(("command", "prints", "what", "next_step"), [
    ("kubectl get nodes", "kubectl-noperm", "this user may not use microk8s", "usermod -a -G microk8s $USER"),
    (STATUS, "status-stopped", "microk8s is stopped", "microk8s start"),
    ("kubectl get nodes", "kubectl-stopped", "microk8s is stopped", "microk8s start"),
    ("enable dns", "enable-stopped", "microk8s is stopped", "microk8s start"),
    (STATUS, "status-yaml-notready", "microk8s is not ready", "sudo microk8s inspect"),
    ("status", "status-short-notready", "microk8s is not ready", "microk8s kubectl get nodes"),
    ("status --wait-ready --timeout 1", "status-wait-timeout", "microk8s is not ready", "--wait-ready --timeout"),
    ("kubectl get nodes", "kubectl-worker", "this machine is a worker", "control plane"),
])
def test_what_its_scripts_print_becomes_advice(microk8s, standin, command, prints, what, next_step):
    standin.replay(command, prints)
    with pytest.raises(ClusterError, match=what) as caught:
        microk8s.run(*command.split(), timeout_s=LIMIT_S)
    assert next_step in caught.value.next_step
    assert caught.value.where == f"microk8s {command}"
    printed = (PRINTS / f"{prints}.out").read_text() + (PRINTS / f"{prints}.err").read_text()
    assert caught.value.observed in printed


@pytest.mark.parametrize(("stream", "rc", "text", "what", "next_step"), [
    ("err", 1, "The connection to the server 127.0.0.1:16443 was refused - did you specify the right host or port?",
     "is down, or restarts", "systemctl status snap.microk8s.daemon-kubelite"),
    ("err", 1, 'E0520 12:00:00.0 9 memcache.go:265] "Unhandled Error" err="couldn\'t get current server API group '
     'list: Get \\"https://127.0.0.1:16443/api\\"', "is down, or restarts", "wait a minute"),
    ("err", 1, "Unable to connect to the server: x509: certificate is valid for 10.152.183.1, 127.0.0.1, not 192.0.2.7",
     "for another name or address", "microk8s config -l"),
    ("out", 1, "Elevated permissions are needed for this command. Please use sudo.", "a strict microk8s needs root",
     "in a terminal with sudo"),
    ("out", 1, "This node does not have enough RAM to host the Kubernetes control plane services", "less than 512 MB",
     "more memory"),
    ("err", 1, "Addon nothing was not found in any repository", "no add-on of that name", "microk8s enable community"),
    ("out", 1, "Your input value (10.64.140.43) is not a valid IP Range", "no range of addresses", "FIRST-LAST"),
    ("err", 1, "sudo: a terminal is required to read the password; either use the -S option",
     "asks for a password", "in a terminal"),
    ("out", 0, "[sudo] password for student: ", "asks for a password", "in a terminal"),
])
def test_what_it_was_seen_to_print_becomes_advice(microk8s, standin, stream, rc, text, what, next_step):
    standin.answer("something", **{stream: text + "\n"}, rc=rc)
    with pytest.raises(ClusterError, match=what) as caught:
        microk8s.run("something", timeout_s=LIMIT_S)
    assert next_step in caught.value.next_step
    assert caught.value.observed == text.strip()


@pytest.mark.parametrize("call", [Microk8s.status, Microk8s.kubeconfig, lambda each: each.enable("dns")])
def test_silence_that_claims_success_is_a_missing_virtual_machine(microk8s, standin, call):
    for command in (STATUS, "config -l", "enable dns"):
        standin.answer(command)
    with pytest.raises(ClusterError, match="printed nothing") as caught:
        call(microk8s)
    assert "microk8s install" in caught.value.next_step


@pytest.mark.parametrize("prints", ["status-yaml-ready", "status-legacy-yaml-ready"])
def test_status_is_read_in_both_forms(microk8s, standin, prints):
    standin.replay(STATUS, prints)
    status = microk8s.status()
    assert status.running
    assert {name for name, enabled in status.addons.items() if enabled} == {"dns", "ha-cluster", "helm", "helm3"}
    assert status.addons["metallb"] is False
    assert len(status.addons) == 23


def test_versions_that_yaml_takes_for_numbers_or_nothing_do_no_harm(microk8s, standin):
    standin.answer(STATUS, "microk8s:\n  running: True\naddons:\n  - name: multus\n    version: 3.9\n"
                           "    status: enabled\n  - name: rbac\n    version:  \n    status: disabled\n")
    assert microk8s.status() == Status(running=True, addons={"multus": True, "rbac": False})


@pytest.mark.parametrize("text", ["- a list", "microk8s: 5", "a: [", "microk8s:\n  running: True\naddons: 7",
                                  "microk8s is running\naddons:\ncore/dns: enabled"])
def test_a_status_of_another_form_is_shown(microk8s, standin, text):
    standin.answer(STATUS, text)
    with pytest.raises(ClusterError, match="does not understand") as caught:
        microk8s.status()
    assert caught.value.observed == text


@pytest.mark.parametrize(("lock", "what"), [("stopped", "microk8s is stopped"), ("clustered", "is a worker"),
                                            ("low-memory-guard", "less than 512 MB")])
def test_lock_files_tell_it_without_a_slow_status(microk8s, standin, tmp_path, lock, what):
    standin.replay(STATUS, "status-yaml-ready")
    file = tmp_path / f"data/var/lock/{lock}.lock"
    file.parent.mkdir(parents=True)
    file.touch()
    with pytest.raises(ClusterError, match=what) as caught:
        microk8s.status()
    assert caught.value.where == str(file)
    file.unlink()
    assert microk8s.status().running


def test_an_addon_is_enabled_once(microk8s, standin):
    standin.answer("enable metallb 10.64.140.43-10.64.140.49", "Enabling MetalLB\nMetalLB is enabled\n",
                   "Infer repository core for addon metallb\n")
    assert microk8s.enable("metallb", "10.64.140.43-10.64.140.49") is True
    standin.replay("enable dns", "enable-dns-again")
    assert microk8s.enable("dns") is False


def test_arguments_that_came_too_late_are_an_error(microk8s, standin):
    standin.replay("enable dns 192.0.2.53", "enable-dns-again")
    with pytest.raises(ClusterError, match=r"ignored 192\.0\.2\.53") as caught:
        microk8s.enable("dns", "192.0.2.53")
    assert caught.value.next_step == "microk8s disable dns, then again: microk8s enable dns 192.0.2.53"


def test_another_failure_shows_what_was_printed(microk8s, standin):
    standin.answer("enable dns", "Enabling DNS\n", "Traceback: boom\n", 7)
    with pytest.raises(ClusterError, match="microk8s failed") as caught:
        microk8s.enable("dns")
    assert (caught.value.exit_status, caught.value.command) == (7, "microk8s enable dns")
    assert "boom" in caught.value.log_tail


def test_images_go_to_every_node_through_the_input(microk8s, standin, tmp_path):
    (tmp_path / "images.tar").write_bytes(bytes(range(256)) * 1000)
    standin.answer("images import", "Pushing OCI images to 10.0.0.5:25000\nPushing OCI images to 10.0.0.6:25000\n")
    assert microk8s.import_images(tmp_path / "images.tar") == ["10.0.0.5:25000", "10.0.0.6:25000"]
    assert standin.input("images import") == (tmp_path / "images.tar").read_bytes()


@pytest.mark.parametrize(("printed", "observed"), [
    ("Pushing OCI images to 10.0.0.5:25000\nFailed to import images on 10.0.0.5:25000: no space left\n",
     "Failed to import images on 10.0.0.5:25000: no space left"),
    ("Pushing OCI images to 10.0.0.5:25000\nFailed to reach 10.0.0.5:25000\n", "Failed to reach 10.0.0.5:25000"),
    ("No nodes\n", "No nodes"),
])
def test_a_failed_import_that_ends_with_0_is_noticed(microk8s, standin, tmp_path, printed, observed):
    (tmp_path / "images.tar").touch()
    standin.answer("images import", printed, rc=0)
    with pytest.raises(ClusterError, match="did not import") as caught:
        microk8s.import_images(tmp_path / "images.tar")
    assert caught.value.observed == observed


def test_the_kubeconfig_is_the_snaps_file_or_what_the_command_prints(microk8s, standin, tmp_path):
    standin.answer("config -l", "printed")
    assert microk8s.kubeconfig() == "printed"
    file = tmp_path / "data/credentials/client.config"
    file.parent.mkdir(parents=True)
    file.write_text("the file")
    assert microk8s.kubeconfig() == "the file"


def test_what_takes_long_is_said(microk8s, standin, said, tmp_path, monkeypatch):
    monkeypatch.setattr(driver, "PATIENCE_S", 0.05)
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    standin.answer("config -l", "a kubeconfig", script=f"read line <{gate}\n")

    def report(line: str) -> None:
        said.append(line)
        gate.write_text("go on\n")

    slow = Microk8s(report, tmp_path)
    assert slow.kubeconfig() == "a kubeconfig"
    assert said == ["waiting for: microk8s config -l"]


def test_what_does_not_end_is_ended_with_its_children(microk8s, standin, said, tmp_path):
    standin.answer("status", script=f"sleep infinity & echo $! >{tmp_path}/child; wait\n")
    with pytest.raises(ClusterError, match="does not end") as caught:
        microk8s.run("status", timeout_s=0.5)
    assert "within 0.5 s" in caught.value.expected
    assert "~/.kube" in caught.value.next_step
    child = int((tmp_path / "child").read_text())
    wait_until(lambda: not runs(child), what="the child to be gone", deadline_s=5)


def runs(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_an_api_server_that_is_down_is_explained_as_microk8ss():
    error = explained("dial tcp 127.0.0.1:16443: connect: connection refused", PROXY_SIGNALS, where="x", otherwise="y")
    assert "kubelite" in error.next_step
