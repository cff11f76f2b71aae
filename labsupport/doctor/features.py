"""Which parts of the kernel's networking labs use, tried out in throw-away namespaces.

Reading /proc/modules would not tell: a feature may be built in, or be loaded when it is first used, or be refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from labsupport.doctor.observing import Outcome, Probed, Ran, Trial
from labsupport.doctor.report import Check

_BATCH_FAILURE = re.compile(r"Command failed [^:\s]*:(\d+)")


@dataclass(frozen=True)
class Feature:
    """Something that the kernel may have.

    Attributes:
        name: the field's word for it.
        trial: which trial shows it.
        attempt: a line for `ip -batch` or `tc -batch`, or the rules for nft.
        option: the kernel's configuration option.
        module: the kernel module that has it, where it is one.
        labs: what suffers without it.
        required: whether no lab makes sense without it.
    """

    name: str
    trial: str
    attempt: str
    option: str
    module: str
    labs: str
    required: bool = False


_FILTER = """table inet probe {
 chain forward { type filter hook forward priority 0; ct state established accept
 }
}
"""
_NAT = """table ip probe_nat {
 chain out { type nat hook postrouting priority 100; masquerade
 }
 chain in { type nat hook prerouting priority -100; tcp dport 8080 dnat to 192.0.2.1:80
 }
}
"""
FEATURES = (
    Feature("veth pairs", "ip", "link add pv0 type veth peer name pv1", "VETH", "veth", "all labs", required=True),
    Feature("Linux bridge", "ip", "link add pb0 type bridge", "BRIDGE", "bridge",
            "labs 01 Switches and 04 Linux bridge"),
    Feature("VLAN filtering", "ip", "link set pb0 type bridge vlan_filtering 1", "BRIDGE_VLAN_FILTERING", "",
            "the section of lab 01 on VLANs, which is skipped"),
    Feature("802.1Q", "ip", "link add link pv0 name pq0 type vlan id 10", "VLAN_8021Q", "8021q",
            "the section of lab 01 on VLANs, which is skipped"),
    Feature("VXLAN", "ip", "link add px0 type vxlan id 7 dstport 4789", "VXLAN", "vxlan",
            "the sections on overlay networks, which are skipped"),
    Feature("macvlan", "ip", "link add pm0 link pv0 type macvlan mode bridge", "MACVLAN", "macvlan",
            "the sections on macvlan, which are skipped"),
    Feature("IPv6", "ip", "address add 2001:db8::1/64 dev pv0", "IPV6", "ipv6",
            "the sections on IPv6, which are skipped"),
    Feature("policy routing", "ip", "rule add from 192.0.2.1 table 7", "IP_MULTIPLE_TABLES", "",
            "the section of lab 02 on asymmetric paths"),
    Feature("tbf (rate limit)", "tc", "qdisc add dev pv1 root tbf rate 1mbit burst 10kb latency 50ms",
            "NET_SCH_TBF", "sch_tbf", "the loop of lab 01"),
    Feature("netem (delay, loss)", "tc", "qdisc add dev pv0 root netem delay 1ms", "NET_SCH_NETEM", "sch_netem",
            "the sections on delay and loss, which are skipped"),
    Feature("nftables", "nft", _FILTER, "NF_TABLES", "nf_tables",
            "lab 04 Linux bridge and the labs on policies"),
    Feature("NAT", "nft nat", _NAT, "NFT_NAT", "nft_nat", "lab 04 Linux bridge and the labs on Services"),
    Feature("iptables NAT", "iptables", "", "NFT_COMPAT", "nft_compat",
            "the labs on Services, where kube-proxy uses iptables"),
    Feature("br_netfilter", "br_netfilter", "", "BRIDGE_NETFILTER", "br_netfilter",
            "the section of lab 04 on what a bridge filters"),
)


def trials() -> list[Trial]:
    """Return what the probe shall run: one program per kind of feature."""
    batch = {tool: "".join(f"{feature.attempt}\n" for feature in FEATURES if feature.trial == tool)
             for tool in ("ip", "tc")}
    return [
        Trial("ip", ["ip", "-force", "-batch", "-"], batch["ip"]),
        Trial("tc", ["tc", "-force", "-batch", "-"], batch["tc"]),
        Trial("nft", ["nft", "-f", "-"], _FILTER),
        Trial("nft nat", ["nft", "-f", "-"], _NAT),
        Trial("iptables", ["iptables", "-t", "nat", "-A", "POSTROUTING", "-j", "MASQUERADE"]),
        Trial("br_netfilter", ["ls", "/proc/sys/net/bridge/bridge-nf-call-iptables"]),
        Trial("netns add", ["ip", "netns", "add", "probe"]),
        Trial("netns exec", ["ip", "netns", "exec", "probe", "true"]),
    ]


def check_features(probed: Probed) -> list[Check]:
    """Say for every feature whether the kernel let the probe use it."""
    if not probed.trials or probed.failed("fresh /proc", "fresh /sys"):  # programs misjudge a network without /proc
        return [Check("kernel networking", "note", "not tried, since the namespaces to try it in could not be made")]
    return [_named_namespaces(probed), *[_check(feature, probed) for feature in FEATURES], _tun(probed)]


def _named_namespaces(probed: Probed) -> Check:
    for trial in ("netns add", "netns exec"):
        ran = probed.trials.get(trial)
        if ran is None or ran.status != 0:
            said = "not tried" if ran is None else _last_line(ran.stderr)
            return Check("ip netns", "gap", f"ip {trial} failed: {said}",
                         "All labs need it. Look at the gaps in /sys, in mount calls and in ip first.", required=True)
    return Check("ip netns", "ok", "add and exec work", required=True)


def _check(feature: Feature, probed: Probed) -> Check:
    ran = probed.trials.get(feature.trial)
    if ran is None or ran.status is None:
        tool = feature.trial.split()[0]
        return Check(feature.name, "gap" if feature.required else "note", f"not tried, since {tool} cannot be run",
                     f"Get {tool} first, then run the doctor again.", feature.required)
    problem = failure(feature, ran)
    if not problem:
        return Check(feature.name, "ok", "works", required=feature.required)
    module = f" An administrator may have it as a module:\n  sudo modprobe {feature.module}" if feature.module else ""
    return Check(feature.name, "gap", f"this kernel refuses it: {problem}",
                 f"Needed by {feature.labs}. The kernel's option is CONFIG_{feature.option}.{module}", feature.required)


def failure(feature: Feature, ran: Ran) -> str:
    """Return what the kernel said against a feature, or "" if it works."""
    if feature.trial not in {"ip", "tc"}:
        return "" if ran.status == 0 else _last_line(ran.stderr)
    attempts = [other.attempt for other in FEATURES if other.trial == feature.trial]
    return batch_failures(ran.stderr).get(attempts.index(feature.attempt) + 1, "")


def batch_failures(text: str) -> dict[int, str]:
    """Return, by line number of an `ip -force -batch` or `tc -force -batch`, why that line failed."""
    failures: dict[int, str] = {}
    reason = ""
    for line in text.splitlines():
        found = _BATCH_FAILURE.match(line.strip())
        if found:
            failures[int(found[1])] = reason or "no reason given"
            reason = ""
        elif line.strip():
            reason = line.strip()
    return failures


def _last_line(text: str) -> str:
    """Return the line that names the error: nft shows the rule below it, others print it last."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    named = [line for line in lines if "Error:" in line]
    return (named or lines or ["no reason given"])[-1][:160]


def _tun(probed: Probed) -> Check:
    problem = probed.failed("tun device", "tun interface") or (
        None if probed.reached("tun interface") else Outcome(1, "not tried"))
    if problem is None:
        return Check("tun", "ok", "works")
    if problem.errno == 13:
        advice = "/dev/net/tun is closed to you. An administrator opens it, as most distributions do:\n" \
                 "  sudo chmod 0666 /dev/net/tun"
    else:
        advice = "The kernel's option is CONFIG_TUN. An administrator may have it as a module:\n  sudo modprobe tun"
    return Check("tun", "gap", problem.text, f"Needed by the sections on tunnels, which are skipped. {advice}")
