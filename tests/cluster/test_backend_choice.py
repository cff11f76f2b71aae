"""Which backend a notebook gets, and what is told of several faults."""

from __future__ import annotations

import pytest

from labsupport.cluster.backends import choose
from labsupport.cluster.backends.choice import Choice
from labsupport.cluster.backends.faults import raise_all
from labsupport.cluster.backends.foreign import takes_pods
from labsupport.cluster.backends.foreign_images import OWN, PUBLIC, choose_images
from labsupport.errors import ClusterError


@pytest.mark.parametrize(("wanted", "environment", "backend", "reason"), [
    ("", {}, "embedded", "the default; LABSUPPORT_BACKEND chooses another"),
    ("", {"KUBECONFIG": "/somebodys/config"}, "embedded", "the default; LABSUPPORT_BACKEND chooses another"),
    ("", {"LABSUPPORT_BACKEND": ""}, "embedded", "the default; LABSUPPORT_BACKEND chooses another"),
    ("", {"LABSUPPORT_BACKEND": "microk8s"}, "microk8s", "LABSUPPORT_BACKEND names it"),
    ("kubeconfig", {}, "kubeconfig", "the notebook names it"),
    ("kubeconfig", {"LABSUPPORT_BACKEND": "microk8s"}, "kubeconfig", "the notebook names it"),
])
def test_the_notebook_comes_before_the_environment(wanted, environment, backend, reason):
    assert choose(wanted, environment) == Choice(backend, reason)


@pytest.mark.parametrize(("wanted", "environment", "where"), [
    ("kind", {}, "open_cluster"), ("", {"LABSUPPORT_BACKEND": "Embedded"}, "LABSUPPORT_BACKEND")])
def test_an_unknown_backend_is_refused_where_it_was_named(wanted, environment, where):
    with pytest.raises(ClusterError, match="there is no backend") as caught:
        choose(wanted, environment)
    assert where in caught.value.where
    assert caught.value.expected == "embedded, microk8s, kubeconfig"


def test_several_faults_are_told_at_once_each_with_its_next_step():
    faults = [ClusterError("one", observed="1", next_step="first"),
              ClusterError("two", expected="2", next_step="second")]
    with pytest.raises(ClusterError, match="for 2 reasons") as caught:
        raise_all(faults, "here")
    error = caught.value
    assert (error.where, error.observed, error.next_step) == ("here", "1. one: 1\n2. two: 2", "1. first\n2. second")
    with pytest.raises(ClusterError, match="one") as caught:
        raise_all(faults[:1], "here")
    assert caught.value is faults[0]
    raise_all([], "here")


def node(*images: str, ready: str = "True", **spec: object) -> dict[str, object]:
    return {"spec": spec, "status": {"conditions": [{"type": "Ready", "status": ready}],
                                     "images": [{"names": ["sha256:0", image]} for image in images]}}


def test_images_are_ours_where_every_node_has_them_and_else_public_or_named():
    agnhost, tools = OWN["agnhost"], OWN["tools"]
    assert choose_images([node(agnhost, tools), node(tools, agnhost)], {}) == OWN
    assert choose_images([node(agnhost, tools), node(tools)], {}) == {"agnhost": PUBLIC["agnhost"], "tools": tools}
    assert choose_images([node(), {"spec": {}, "status": {}}], {}) == PUBLIC
    assert choose_images([], {}) == PUBLIC
    named = {"LABSUPPORT_AGNHOST_IMAGE": "registry.example/agnhost:1", "LABSUPPORT_TOOLS_IMAGE": ""}
    assert choose_images([node(tools)], named) == {"agnhost": "registry.example/agnhost:1", "tools": tools}


@pytest.mark.parametrize(("found", "takes"), [
    (node(), True), (node(ready="False"), False), (node(ready="Unknown"), False), (node(unschedulable=True), False),
    (node(taints=[{"key": "a", "effect": "NoSchedule"}]), False),
    (node(taints=[{"key": "a", "effect": "PreferNoSchedule"}]), True), ({"spec": {}, "status": {}}, False)])
def test_pods_run_where_nothing_keeps_them_off(found, takes):
    assert takes_pods(found) is takes
