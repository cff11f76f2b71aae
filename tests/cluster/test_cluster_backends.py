"""A real cluster that is reached as a foreign one, by every kind of kubeconfig; kubectl on the host is the observer."""

from __future__ import annotations

import base64
import json
import os
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from kube import Kubectl, pod
from microk8s_standin import StandIn

from labsupport.cluster import Cluster
from labsupport.cluster.backends import Foreign, microk8s_cluster, open_kubeconfig, open_microk8s
from labsupport.cluster.backends.foreign_images import OWN, PUBLIC
from labsupport.cluster.backends.microk8s import Microk8s
from labsupport.cluster.namespaces import OWNER, make_fresh_namespace, owner
from labsupport.errors import ClusterError

NAMESPACE, STRANGERS = "foreign", "strangers"
Document = dict[str, Any]
Use = Callable[[Document], Path]
Open = Callable[..., Foreign]


@pytest.fixture
def document(cluster: Cluster) -> Document:
    """The admin's kubeconfig: certificates, inline."""
    found: Document = json.loads(cluster.kubeconfig.read_text())
    return found


@pytest.fixture
def use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Use:
    """Lets the environment name a kubeconfig."""
    monkeypatch.delenv("LABSUPPORT_CONTEXT", raising=False)

    def choose(document: Document) -> Path:
        file = tmp_path / "config"
        file.write_text(json.dumps(document))
        monkeypatch.setenv("KUBECONFIG", str(file))
        return file

    return choose


@pytest.fixture
def open_it() -> Iterator[Open]:
    """Opens the cluster of the environment's kubeconfig, and lets go of it."""
    opened: list[Foreign] = []

    def open_now(namespace: str = NAMESPACE) -> Foreign:
        opened.append(open_kubeconfig(namespace, os.environ, lambda _step: None))
        return opened[-1]

    yield open_now
    for foreign in opened:
        foreign.proxy.close()


@pytest.fixture
def reader_account(kubectl: Kubectl) -> Iterator[str]:
    """A token of somebody who may look at pods and namespaces and do nothing else."""
    kubectl("create", "serviceaccount", "looker")
    kubectl("create", "clusterrole", "looker", "--verb=get,list,watch", "--resource=pods,namespaces")
    kubectl("create", "clusterrolebinding", "looker", "--clusterrole=looker", "--serviceaccount=default:looker")
    yield kubectl("create", "token", "looker").strip()
    kubectl.delete("serviceaccount/looker", "clusterrole/looker", "clusterrolebinding/looker")


@pytest.fixture
def admin_token(kubectl: Kubectl) -> Iterator[str]:
    """A token of an administrator."""
    kubectl("create", "serviceaccount", "boss")
    kubectl("create", "clusterrolebinding", "boss", "--clusterrole=cluster-admin", "--serviceaccount=default:boss")
    yield kubectl("create", "token", "boss").strip()
    kubectl.delete("serviceaccount/boss", "clusterrolebinding/boss")


def as_certificate_files(document: Document, folder: Path, _token: str) -> Document:
    """Names files instead, relative to the kubeconfig's folder."""
    part = {**document["clusters"][0]["cluster"], **document["users"][0]["user"]}
    for name in ("certificate-authority", "client-certificate", "client-key"):
        (folder / name).write_bytes(base64.b64decode(part[f"{name}-data"]))
    user = {name: name for name in ("client-certificate", "client-key")}
    cluster = {"server": part["server"], "certificate-authority": "certificate-authority"}
    return {**document, "clusters": [{"name": document["clusters"][0]["name"], "cluster": cluster}],
            "users": [{"name": document["users"][0]["name"], "user": user}]}


def as_token(document: Document, _folder: Path, token: str) -> Document:
    return with_user(document, {"token": token})


def as_token_file(document: Document, folder: Path, token: str) -> Document:
    (folder / "token").write_text(token)
    return with_user(document, {"tokenFile": str(folder / "token")})


def as_program(document: Document, folder: Path, token: str) -> Document:
    """Names a program that logs in, as those of clouds do."""
    answer = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": token}}
    (folder / "login").write_text(f"#!/bin/sh\ncat <<'EOF'\n{json.dumps(answer)}\nEOF\n")
    (folder / "login").chmod(0o755)
    return with_user(document, {"exec": {"apiVersion": answer["apiVersion"], "command": "./login",
                                         "interactiveMode": "Never"}})


def with_user(document: Document, user: Document) -> Document:
    return {**document, "users": [{"name": document["users"][0]["name"], "user": user}]}


def test_inline_certificates_lead_to_the_cluster(use, open_it, document, kubectl):
    use(document)
    foreign = open_it()
    assert (foreign.backend, foreign.context) == ("kubeconfig", document["current-context"])
    assert list(foreign.nodes) == ["node1", "node2"]
    assert foreign.images == OWN
    for kind in ("nodes", "services"):
        told = [each["metadata"]["uid"] for each in foreign.reader.get(kind, namespace="default")]
        assert told == [each["metadata"]["uid"] for each in kubectl.get(kind, "-n", "default")["items"]]


@pytest.mark.parametrize("write", [as_certificate_files, as_token, as_token_file, as_program])
def test_other_credentials_lead_there_too(use, open_it, document, tmp_path, admin_token, write):
    use(write(document, tmp_path, admin_token))
    assert list(open_it().nodes) == ["node1", "node2"]


def test_the_environment_chooses_the_context(use, open_it, document, monkeypatch):
    there = document["contexts"][0]["context"]
    document["contexts"] = [{"name": "far", "context": {"cluster": "far", "user": "x"}},
                            {"name": "near", "context": there}]
    document["clusters"].append({"name": "far", "cluster": {"server": "https://127.0.0.1:1"}})
    document["current-context"] = "far"
    use(document)
    monkeypatch.setenv("LABSUPPORT_CONTEXT", "near")
    assert open_it().context == "near"


def test_what_is_not_allowed_is_told_at_once(use, open_it, document, reader_account):
    use(as_token(document, Path(), reader_account))
    with pytest.raises(ClusterError, match="does not allow") as caught:
        open_it()
    refused = caught.value.observed.split(", ")
    assert {"create namespaces", "delete namespaces", "list nodes", f"create pods in {NAMESPACE}",
            f"create pods/exec in {NAMESPACE}", f"create deployments.apps in {NAMESPACE}"} <= set(refused)
    assert not {"get namespaces", f"get pods in {NAMESPACE}", f"list pods in {NAMESPACE}"} & set(refused)


def test_nodes_that_take_no_pods_and_a_strangers_namespace_are_told_together(use, open_it, document, kubectl):
    use(document)
    kubectl("create", "namespace", STRANGERS)
    kubectl("cordon", "node1", "node2")
    try:
        with pytest.raises(ClusterError, match="for 2 reasons") as caught:
            open_it(STRANGERS)
        assert "1. no node of the cluster takes pods" in caught.value.observed
        assert f"2. the Kubernetes namespace {STRANGERS} is somebody else's" in caught.value.observed
        assert "made by not labsupport" in caught.value.observed
        kubectl("uncordon", "node2")
        kubectl("annotate", "namespace", STRANGERS, f"{OWNER}={owner()}")
        assert open_it(STRANGERS).nodes == ("node2",)
        kubectl("annotate", "--overwrite", "namespace", STRANGERS, f"{OWNER}=ada@elsewhere")
        with pytest.raises(ClusterError, match="somebody else's") as caught:
            open_it(STRANGERS)
        assert "made by ada@elsewhere" in caught.value.observed
        assert kubectl.get("namespace", STRANGERS)["status"]["phase"] == "Active"
    finally:
        kubectl("uncordon", "node1", "node2")
        kubectl("delete", "namespace", STRANGERS, "--wait=false")


@pytest.mark.timeout(150)
def test_the_namespace_starts_from_nothing_and_its_own_controller_empties_it(use, open_it, document, kubectl):
    use(document)
    foreign, said = open_it(), []
    make_fresh_namespace(foreign.reader, NAMESPACE, said.append, foreign=True)
    first = kubectl.get("namespace", NAMESPACE)["metadata"]
    assert first["annotations"][OWNER] == owner()
    kubectl("-n", NAMESPACE, "create", "configmap", "old")
    kubectl("-n", NAMESPACE, "apply", "-f", "-", stdin=json.dumps(pod("old")))
    kubectl("-n", NAMESPACE, "wait", "--for=condition=Ready", "pod/old", "--timeout=25s")
    make_fresh_namespace(foreign.reader, NAMESPACE, said.append, foreign=True)
    assert kubectl.get("namespace", NAMESPACE)["metadata"]["uid"] != first["uid"]
    assert kubectl.get("pods,configmaps", "-n", NAMESPACE, "--field-selector=metadata.name=old")["items"] == []
    assert said
    assert {line.partition(" until")[0] for line in said} == {"waiting"}
    kubectl("delete", "namespace", NAMESPACE, "--wait=false")


@pytest.fixture
def standin(cluster: Cluster, document: Document, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """A program that answers as microk8s does, and hands out the kubeconfig of the cluster."""
    made = StandIn(tmp_path / "bin")
    made.replay("status --format yaml", "status-yaml-ready")
    document["contexts"][0]["name"] = document["current-context"] = "microk8s"
    made.answer("config -l", json.dumps(document))
    made.answer("images import", "Pushing OCI images to 10.0.0.1:25000\n")
    monkeypatch.setenv("PATH", f"{made.folder}:{os.environ['PATH']}")
    return made


def test_a_microk8s_that_runs_is_opened_by_its_kubeconfig(standin, document):
    foreign = open_microk8s(NAMESPACE, {}, lambda _step: None)
    try:
        assert str(foreign) == "microk8s, context microk8s"
        assert list(foreign.nodes) == ["node1", "node2"]
        assert foreign.images == OWN
        assert not (standin.folder / "answers/images_import.in").exists(), "its nodes have them already"
    finally:
        foreign.proxy.close()


def test_a_microk8s_without_dns_gets_it_or_is_told_how(standin):
    ready = (standin.folder / "answers/status_--format_yaml.out").read_text()
    standin.answer("status --format yaml", ready.replace("1.13.1\n    status: enabled", "1.13.1\n    status: disabled"))
    standin.answer("enable dns", "Enabling DNS\nDNS is enabled\n", "Infer repository core for addon dns\n")
    said: list[str] = []
    open_microk8s(NAMESPACE, {}, said.append).proxy.close()
    assert said[0] == "switching on the add-on dns of microk8s"
    standin.answer("enable dns", err="sudo: a terminal is required to read the password\n", rc=1)
    with pytest.raises(ClusterError, match="asks for a password") as caught:
        open_microk8s(NAMESPACE, {}, said.append)
    assert caught.value.where == "microk8s enable dns"
    assert "run it in a terminal" in caught.value.next_step


def test_a_microk8s_without_our_images_gets_them(standin, use, open_it, document, tmp_path):
    use(document)
    foreign = replace(open_it(), images=PUBLIC)
    helped = microk8s_cluster._with_images(foreign, Microk8s(lambda _step: None), lambda _step: None)
    assert helped.images == OWN
    archive = tmp_path / "images.tar"
    archive.write_bytes(standin.input("images import"))
    with tarfile.open(archive) as opened:
        index = json.loads(opened.extractfile("index.json").read())
    names = {each["annotations"]["io.containerd.image.name"] for each in index["manifests"]}
    assert names == set(OWN.values())
    named = replace(foreign, images={"agnhost": "registry.example/a:1", "tools": "registry.example/t:1"})
    assert microk8s_cluster._with_images(named, Microk8s(print), print).images == named.images
