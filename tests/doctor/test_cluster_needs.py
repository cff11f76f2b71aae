"""What the doctor says about clusters."""

from __future__ import annotations

from pathlib import Path

import pytest

from labsupport.doctor.cluster_needs import (
    check_backends,
    check_cluster_needs,
    check_inotify,
    check_memory,
    kubeconfig_files,
)


@pytest.mark.parametrize(("kibibytes", "state"), [(8_000_000, "ok"), (2_097_152, "ok"), (2_097_151, "note"),
                                                  (0, "note")])
def test_little_memory_is_noted(kibibytes, state):
    check = check_memory(f"MemTotal:       16000000 kB\nMemAvailable:   {kibibytes} kB\nHugePages_Total:  0\n")
    assert check.state == state
    assert f"{kibibytes >> 10:,} MiB" in check.observed
    assert ("--nodes 1" in check.next_step) == (state == "note")


@pytest.mark.parametrize(("limit", "state"), [("128", "ok"), ("64", "ok"), ("63", "note"), ("", "ok")])
def test_a_low_limit_of_inotify_is_noted_with_the_command_that_raises_it(limit, state):
    check = check_inotify(limit)
    assert check.state == state
    assert ("sudo sysctl -w fs.inotify.max_user_instances=" in check.next_step) == (state == "note")


def test_this_machine_is_looked_at():
    names = [check.name for check in check_cluster_needs()]
    assert names == ["processors", "memory", "file watches", "container limits", "clusters"]


@pytest.mark.parametrize(("microk8s", "files", "observed"), [
    (None, [], "embedded (the default)"),
    ("/snap/bin/microk8s", [], "embedded (the default), microk8s (/snap/bin/microk8s)"),
    ("/snap/bin/microk8s", [Path("a"), Path("b")],
     "embedded (the default), microk8s (/snap/bin/microk8s), kubeconfig (a, b)"),
])
def test_other_clusters_are_named_with_the_variable_that_chooses_them(microk8s, files, observed):
    check = check_backends(microk8s, files)
    assert (check.state, check.observed) == ("ok", observed)
    assert ("LABSUPPORT_BACKEND=" in check.next_step) == bool(microk8s or files)


def test_a_kubeconfig_is_looked_for_where_kubectl_does(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert kubeconfig_files({}) == ([tmp_path / ".kube/config"], [])
    (tmp_path / "there").touch()
    two = [tmp_path / "not there", tmp_path / "there"]
    assert kubeconfig_files({"KUBECONFIG": f"{two[0]}:{two[1]}"}) == (two, two[1:])
