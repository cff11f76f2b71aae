"""Pods that run as other users than root: with a range of user ids they do, without one an event says what it takes."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from kube import pod

from labsupport.cluster.cache import cache_folder
from labsupport.waiting import wait_until

USER = 47110
GRANT = "tester:3000000000:65536\n"
RUN = """
import json, sys
from labsupport.cluster import Cluster
cluster = Cluster("other-users")
try:
    cluster.start(nodes=1, addons=())
    def kubectl(*arguments, stdin=""):
        return cluster.lab.run(["kubectl", *arguments], stdin=stdin, echo=False).check().stdout
    kubectl("apply", "-f", "-", stdin=sys.stdin.read())
    kubectl("wait", "--for=condition=Ready", "--timeout=40s", "pod/clerk")
    print(json.dumps([cluster.status()["uids"], kubectl("exec", "clerk", "--", "id", "-u").strip(),
                      kubectl("exec", "clerk", "--", "id", "-G").strip()]))
finally:
    cluster.stop()
    if cluster.folder.path.exists():
        cluster.folder.remove()
"""
CLERK = {"securityContext": {"runAsUser": 1000, "runAsGroup": 2000, "fsGroup": 3000}}


def test_a_pod_of_another_user_runs_or_says_what_is_missing(cluster, kubectl):
    kubectl.apply(pod("clerk", node="node1", automountServiceAccountToken=False, **CLERK))
    try:
        if cluster.status()["uids"] > 1:
            kubectl.wait_ready("clerk")
            assert kubectl("exec", "clerk", "--", "sh", "-c", "id -u; id -g; id -G") == "1000\n2000\n2000 3000\n"
        else:
            wait_until(lambda: "has only uid 0, since the user who started it has no range in /etc/subuid"
                       in kubectl("get", "events", "--field-selector", "involvedObject.name=clerk"),
                       what="an event", deadline_s=20, interval_s=0.3)
    finally:
        kubectl.delete("pod", "clerk")


@pytest.mark.parametrize("asked", [
    CLERK, {"securityContext": {"supplementalGroups": [7]}}, {"containers": [{"securityContext": {"runAsUser": 5}}]}])
def test_where_there_is_one_user_kubectl_warns_of_pods_for_others(cluster, kubectl, asked):
    manifest = pod("clerk", node="node1")
    containers = [manifest["spec"]["containers"][0] | more for more in asked.get("containers", [{}])]
    spec = manifest["spec"] | asked | {"containers": containers}
    wanted = (manifest, manifest | {"spec": spec}, {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "clerks"},
        "spec": {"selector": {"matchLabels": {"app": "clerk"}},
                 "template": {"metadata": {"labels": {"app": "clerk"}}, "spec": spec | {"restartPolicy": "Always"}}}})
    one_user = cluster.status()["uids"] == 1

    def warned() -> list[bool]:
        return [one_user_warning(kubectl.run("apply", "--dry-run=server", "-f", "-", stdin=json.dumps(each)).stderr)
                for each in wanted]

    # An API server that has just been started, or started again, needs a second or two to know its policies.
    wait_until(lambda: warned() == [False, one_user, one_user], what="the warnings", deadline_s=15, interval_s=0.2)


def one_user_warning(text: str) -> bool:
    return "Warning" in text and "can only run as user 0 and group 0" in text


@pytest.mark.timeout(120)
@pytest.mark.root_only
def test_an_ordinary_user_with_a_range_of_ids_runs_them_too(programs, tmp_path_factory):
    """The range is granted in a mount namespace of the test's own; the machine's /etc stays as it is."""
    home = tmp_path_factory.mktemp("home")
    os.chown(home, USER, USER)
    for parent in (home, *home.parents[:2]):
        parent.chmod(0o755)
    become = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
    if subprocess.run([*become, "test", "-x", programs["etcd"]], check=False).returncode:
        pytest.skip(f"{cache_folder()} is in a folder that other users may not enter")
    names = Path("/etc/passwd").read_text() + f"tester:x:{USER}:{USER}::{home}:/bin/sh\n"
    for name, text in (("passwd", names), ("subuid", GRANT), ("subgid", GRANT)):
        (home / name).write_text(text)
    script = (f"for file in passwd subuid subgid; do mount --bind {home}/$file /etc/$file; done; exec "
              f"{shlex.join(become)} env HOME={home} LABSUPPORT_CACHE={cache_folder()} {sys.executable} -c \"$0\"")
    manifest = json.dumps(pod("clerk", node="node1", **CLERK))
    done = subprocess.run(["unshare", "--mount", "sh", "-c", script, RUN], input=manifest, capture_output=True,
                          text=True, timeout=100, check=False, cwd="/")
    assert done.returncode == 0, done.stderr
    uids, user, groups = json.loads(done.stdout)
    assert (uids, user, groups) == (65537, "1000", "2000 3000")
