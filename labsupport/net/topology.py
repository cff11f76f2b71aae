"""Networks as code: what is written down is checked as a whole, and then made at once."""

from __future__ import annotations

from collections.abc import Mapping

from labsupport.errors import TopologyError
from labsupport.net import builder, remover, validation
from labsupport.net.model import Endpoint
from labsupport.net.plan import (
    BridgePlan,
    CablePlan,
    Fault,
    LinkPlan,
    NamespacePlan,
    Plan,
    Publication,
    RoutePlan,
    Shaping,
    read_end,
)
from labsupport.sandbox import Lab

_BRIDGE_OF_A_SWITCH = "br0"
_RP_FILTER = "net.ipv4.conf.{}.rp_filter"


class Topology:
    """A network that is planned first. Nothing is made before `build`.

    It makes visible what every network consists of, whoever makes it, `ip`, Docker or a CNI plugin: namespaces, cables,
    bridges, addresses and routes. Each method below stands for the commands of ip(8) of the same name.

    An interface is written "NAMESPACE:LINK"; ":br0" is in the lab's first namespace. MAC addresses are chosen so that
    they can be read: 10.0.1.2 gets 02:00:00:00:01:02, a link without an IPv4 address 02:00:00:00:ff:01 and so on.

    Args:
        ipv6: leave IPv6 on in the namespaces that are made. Its neighbour discovery fills captures and FDBs.
    """

    def __init__(self, *, ipv6: bool = False) -> None:
        self.plan = Plan(ipv6=ipv6)

    def namespace(self, name: str, *, sysctls: Mapping[str, str | int] | None = None) -> None:
        """Plan a namespace; its loopback will be up.

        Args:
            name: as in `ip netns add`.
            sysctls: settings below net., such as {"net.ipv4.ip_default_ttl": 5}.
        """
        self.plan.namespaces.append(NamespacePlan(name, f"namespace({name!r})"))
        for key, value in (sysctls or {}).items():
            self.sysctl(name, key, value)

    def bridge(self, bridge: str, *, stp: bool = False, ageing_s: float = 300, vlan_filtering: bool = False,
               subnet: str = "") -> None:
        """Plan a bridge.

        Args:
            bridge: where and how it is called, such as "sw:br0".
            stp: run the spanning tree protocol, with the shortest forward delay that the standard allows (2 s).
            ageing_s: after how long silence an address is forgotten; 0 for at once, which makes it a hub.
            vlan_filtering: tell VLANs apart; needs a kernel that can.
            subnet: what the addresses of everything that is plugged in have to be in.
        """
        self.plan.bridges.append(BridgePlan(read_end(bridge), f"bridge({bridge!r})", stp, ageing_s, vlan_filtering,
                                            subnet))

    def switch(self, name: str, *, stp: bool = False, ageing_s: float = 300, vlan_filtering: bool = False,
               subnet: str = "") -> None:
        """Plan a switch: a namespace with a bridge br0 in it. See `bridge`."""
        self.namespace(name)
        self.bridge(f"{name}:{_BRIDGE_OF_A_SWITCH}", stp=stp, ageing_s=ageing_s, vlan_filtering=vlan_filtering,
                    subnet=subnet)
        self.plan.switches[str(name)] = Endpoint(name, _BRIDGE_OF_A_SWITCH)

    def router(self, name: str) -> None:
        """Plan a router: a namespace that forwards IPv4 packets, whichever way they came."""
        self.namespace(name, sysctls={"net.ipv4.ip_forward": 1, _RP_FILTER.format("all"): 0,
                                      _RP_FILTER.format("default"): 0})

    def host(self, name: str, address: str, *, to: str, gateway: str = "", mac: str = "") -> None:
        """Plan a host: a namespace `red` with a link `red0`, plugged into port `to-red` of a switch or bridge.

        Args:
            name: of the namespace.
            address: such as "10.0.0.1/24".
            to: a switch, such as "sw", or a bridge, such as ":br0".
            gateway: where its default route leads.
            mac: of its link; else chosen, see `Topology`.
        """
        call = f"host({name!r}, {address!r}, to={to!r})"
        self.plan.namespaces.append(NamespacePlan(name, call))
        end = Endpoint(name, f"{name}0")
        bridge = self.plan.switches.get(str(to)) or read_end(to)
        port = Endpoint(bridge.namespace, f"to-{name}")
        self.plan.cables.append(CablePlan(end, port, call))
        self.plan.ports.append((port, bridge, call))
        self.plan.addresses.append((end, address, call))
        if mac:
            self.plan.links.append(LinkPlan(end, call, mac=mac))
        if gateway:
            self.plan.routes.append(RoutePlan(name, "default", gateway, "", 0, call))

    def cable(self, one: str, other: str) -> None:
        """Plan a cable (veth pair), both ends up. An end in a switch becomes a port of its bridge."""
        call = f"cable({one!r}, {other!r})"
        ends = read_end(one), read_end(other)
        self.plan.cables.append(CablePlan(*ends, call))
        for end in ends:
            if end.namespace in self.plan.switches:
                self.plan.ports.append((end, self.plan.switches[end.namespace], call))

    def port(self, bridge: str, link: str) -> None:
        """Plan that a link is a port of a bridge of the same namespace."""
        self.plan.ports.append((read_end(link), read_end(bridge), f"port({bridge!r}, {link!r})"))

    def address(self, link: str, address: str) -> None:
        """Plan an IP address of a link, such as "10.0.0.254/24"."""
        self.plan.addresses.append((read_end(link), address, f"address({link!r}, {address!r})"))

    def route(self, namespace: str, destination: str, *, via: str = "", dev: str = "", metric: int = 0) -> None:
        """Plan a route.

        Args:
            namespace: whose it is.
            destination: a network such as "10.0.1.0/24", or "default".
            via: the next router.
            dev: the link, where there is no next router.
            metric: of two routes to one destination the lower one wins.
        """
        call = f"route({namespace!r}, {destination!r}, via={via!r})"
        self.plan.routes.append(RoutePlan(namespace, destination, via, dev, metric, call))

    def mac(self, link: str, mac: str) -> None:
        """Plan the MAC address of a link."""
        self.plan.links.append(LinkPlan(read_end(link), f"mac({link!r}, {mac!r})", mac=mac))

    def mtu(self, link: str, mtu_bytes: int) -> None:
        """Plan the longest packet that a link takes."""
        self.plan.links.append(LinkPlan(read_end(link), f"mtu({link!r}, {mtu_bytes!r})", mtu_bytes=mtu_bytes))

    def sysctl(self, namespace: str, key: str, value: str | int) -> None:
        """Plan a setting of a namespace's network; it is made before its links, so `conf.default` counts for them."""
        self.plan.sysctls.append((namespace, key, str(value), f"sysctl({namespace!r}, {key!r}, {value!r})"))

    def impair(self, link: str, *, rate_kbit: int = 0, delay_ms: float = 0, loss_percent: float = 0) -> None:
        """Plan that a link sends badly (tc(8)); what it receives is the business of the other end.

        Args:
            link: the interface.
            rate_kbit: it sends no faster (tbf).
            delay_ms: everything leaves so much later (netem; not every kernel has it).
            loss_percent: so much never leaves (netem).
        """
        self.plan.shapings.append(Shaping(read_end(link), rate_kbit, delay_ms, loss_percent, f"impair({link!r})"))

    def masquerade(self, out: str, *, source: str) -> None:
        """Plan that packets from a network get the address of the link `out` when they leave through it (nftables)."""
        self.plan.masquerades.append((read_end(out), source, f"masquerade({out!r}, source={source!r})"))

    def publish(self, link: str, port: int, *, to: str) -> None:
        """Plan that TCP connections to a port, arriving on `link`, go to another address (DNAT), "10.0.0.1:80"."""
        call = f"publish({link!r}, {port!r}, to={to!r})"
        self.plan.publications.append(Publication(read_end(link), port, to, call))

    def faults(self) -> list[Fault]:
        """Return everything that is wrong with the plan; `build` knows the namespaces of the lab as well."""
        return validation.faults(self.plan)

    def build(self, lab: Lab) -> None:
        """Make all of it.

        Raises:
            TopologyError: the plan has faults, or things of these names are there already, or the kernel cannot do a
                part of it; all faults are told. Nothing was made, or what was made is gone again.
            LabClosed, LabDied: there is no lab to make it in.
        """
        _refuse(validation.faults(self.plan, lab.namespaces()), "mend the lines that are named")
        _refuse(validation.conflicts(self.plan, lab),
                "was it built before? a fresh lab (in a notebook: the first code cell) has nothing of it, nor has this"
                " one after remove()")
        builder.build(self.plan, lab)

    def remove(self, lab: Lab) -> None:
        """Take away what is called as `build` would call it, as far as it is there: an earlier build, usually.

        Raises:
            LabClosed, LabDied: there is no lab to remove it from.
        """
        remover.remove(self.plan, lab)


def _refuse(found: list[Fault], next_step: str) -> None:
    if found:
        raise TopologyError(validation.headline(found), where="this topology", log_tail="\n".join(map(str, found)),
                            next_step=f"{next_step}; nothing was made")
