"""A network to test with, and what the host's own programs show of any."""

from __future__ import annotations

import json
from typing import Any

from labsupport import Lab
from labsupport.net import Topology


def told(lab: Lab, command: str, namespace: str = "") -> list[dict[str, Any]]:
    """Return what a program of the host prints as JSON on the lab's network."""
    printed = lab.observe(command.split(), namespace=namespace).check().stdout
    return [entry for entry in json.loads(printed or "[]") if entry]


def links(lab: Lab, namespace: str = "") -> dict[str, dict[str, Any]]:
    return {link["ifname"]: link for link in told(lab, "ip -json -d address", namespace)}


def everything(lab: Lab) -> dict[str, object]:
    """Every link, address, route and rule of every namespace."""
    return {name: [told(lab, "ip -json address", name), told(lab, "ip -json route", name),
                   [rule for rule in json.loads(lab.observe(["nft", "-j", "list", "ruleset"], namespace=name).stdout)[
                       "nftables"] if "metainfo" not in rule]]
            for name in ("", *lab.namespaces())}


def lan(net: Topology) -> None:
    net.switch("sw", subnet="10.0.0.0/24", ageing_s=20)
    net.host("red", "10.0.0.1/24", to="sw", gateway="10.0.0.254")
    net.host("blue", "10.0.0.2/24", to="sw", gateway="10.0.0.254", mac="02:00:00:00:0b:0b")


def routed() -> Topology:
    net = Topology()
    lan(net)
    net.switch("s2", subnet="10.0.1.0/24", stp=False)
    net.host("green", "10.0.1.1/24", to="s2", gateway="10.0.1.254")
    for router, (lan0, switch), to, transit, far, hop in [
            ("r1", ("10.0.0.254/24", "sw"), "to-r2", "10.0.12.1/24", "10.0.1.0/24", "10.0.12.2"),
            ("r2", ("10.0.1.254/24", "s2"), "to-r1", "10.0.12.2/24", "10.0.0.0/24", "10.0.12.1")]:
        net.router(router)
        net.cable(f"{router}:lan0", f"{switch}:to-{router}")
        net.address(f"{router}:lan0", lan0)
        net.address(f"{router}:{to}", transit)
        net.route(router, far, via=hop)
    net.cable("r1:to-r2", "r2:to-r1")
    return net


def ping(lab: Lab, namespace: str, address: str) -> int:
    """One echo request, which must be answered: it waits for as long as a busy machine may need."""
    return lab.observe(["ping", "-c1", "-W5", address], namespace=namespace).exit_status
