"""The parts of a planned network that nft(8) and tc(8) make: address translation, and links that send badly."""

from __future__ import annotations

import json

from labsupport.errors import TopologyError
from labsupport.net.plan import Plan, Shaping
from labsupport.sandbox import Lab


def check_netem(plan: Plan, lab: Lab) -> None:
    """Raise TopologyError if the plan wants delays or losses that this kernel cannot make."""
    wishing = [shaping.call for shaping in plan.shapings if shaping.delay_ms or shaping.loss_percent]
    if wishing and lab.run(["unshare", "--net", "tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms"],
                           echo=False).exit_status:
        raise TopologyError("this kernel cannot delay or lose packets", where=", ".join(wishing),
                            expected="the kernel module sch_netem", observed="tc finds none",
                            next_step="leave both out, or ask an administrator for: modprobe sch_netem")


def shape(lab: Lab, shaping: Shaping) -> None:
    """Let a link send badly."""
    parent = ["root", "handle", "1:"]
    add = ["tc", "qdisc", "add", "dev", shaping.end.link]
    if shaping.rate_kbit:
        limits = ["rate", f"{shaping.rate_kbit}kbit", "burst", "1600", "limit", "16000"]
        lab.run([*add, *parent, "tbf", *limits], namespace=shaping.end.namespace, echo=False).check()
        parent = ["parent", "1:", "handle", "10:"]
    if shaping.delay_ms or shaping.loss_percent:
        how = ["delay", f"{shaping.delay_ms}ms", "loss", f"{shaping.loss_percent}%"]
        lab.run([*add, *parent, "netem", *how], namespace=shaping.end.namespace, echo=False).check()


def nat_rules(plan: Plan) -> dict[str, str]:
    """Return what nft reads, by namespace: one table `ip nat` with the two chains that NAT has."""
    rules = {}
    for name in plan.translating:
        lines = ["table ip nat {", "chain prerouting { type nat hook prerouting priority dstnat;"]
        lines += [f"iifname {json.dumps(one.end.link)} tcp dport {one.port} dnat to {one.to}"
                  for one in plan.publications if one.end.namespace == name]
        lines += ["}", "chain postrouting { type nat hook postrouting priority srcnat;"]
        lines += [f"oifname {json.dumps(end.link)} ip saddr {source} masquerade"
                  for end, source, _ in plan.masquerades if end.namespace == name]
        rules[name] = "\n".join([*lines, "}", "}", ""])
    return rules
