"""A small notebook that works with a cluster, and answers to it."""

from __future__ import annotations

from sample import code

NAME = "05-cluster-sample.ipynb"
NAMESPACE = "lab05sample"
SETUP = f'from labsupport.lesson import check, open_cluster\n\ncluster = open_cluster("{NAMESPACE}")'
POD_CHECK = """\
with check("pod", cluster) as c:
    pods = {pod["metadata"]["name"]: pod for pod in cluster.get("pods")}
    if c.needs("there is a pod web", "web" in pods, hint="kubectl run NAME --image=IMAGE -- COMMAND"):
        c.holds("it is on node2", pods["web"]["spec"].get("nodeName") == "node2", points=1)
        c.holds("it runs", pods["web"]["status"].get("phase") == "Running", points=2)
"""
ADDRESS_CHECK = """\
import json

with check("address", cluster, answer) as c:
    if c.needs_answer(str):
        c.holds("it is where node2 sends what is for the pod",
                c.answer in [route["dst"] for route in json.loads(
                    lab.observe(["ip", "-json", "route"], namespace="node2").stdout) if "veth" in route["dev"]])
        c.holds("the API server says so as well", c.answer == cluster.get("pod", "web")["status"]["podIP"])
"""
RUN = """%%lab
kubectl run web --image=lab.local/tools:1.0 --overrides='{"spec": {"nodeName": "NODE"}}' -- sleep infinity
kubectl wait --for=condition=Ready pod/web --timeout=30s
"""
GOOD_POD = RUN.replace("NODE", "node2")
GOOD_ADDRESS = 'answer = cluster.get("pod", "web")["status"]["podIP"]'
GOOD = {"pod-answer": GOOD_POD, "address-answer": GOOD_ADDRESS}
WRONG = {
    "the wrong node": ("pod", {"pod-answer": RUN.replace("NODE", "node1")}, 2),
    "the wrong name": ("pod", {"pod-answer": GOOD_POD.replace(" web ", " wep ")}, 0),
    "no such image": ("pod", {"pod-answer": GOOD_POD.replace("tools:1.0", "none:1.0").replace("=30s", "=2s")}, 1),
    "gone again": ("pod", {"pod-answer": GOOD_POD + "kubectl delete pod web --now"}, 0),
    "the node's range": ("address", {"address-answer": "answer = '10.1.2.0'"}, 0),
    "a number": ("address", {"address-answer": "answer = 3"}, 0),
}
"""Name: exercise, answers, and what they must earn."""


def cells() -> list[dict[str, object]]:
    """Return the cells of the sample, fresh ones to change."""
    return [
        code("setup", SETUP, role="setup"),
        code("lesson", "raise SystemError('grading does not run the lesson')"),
        code("pod-answer", "%%lab\n# your commands", role="answer", exercise="pod"),
        code("pod-check", POD_CHECK, role="check", exercise="pod", points=3),
        code("address-answer", "answer = ...", role="answer", exercise="address"),
        code("address-check", ADDRESS_CHECK, role="check", exercise="address", points=2),
    ]
