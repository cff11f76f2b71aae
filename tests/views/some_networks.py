"""Networks to draw, made from values: the topologies of the course, and random ones."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

from labsupport.net import Address, Endpoint, Link, NamespaceState, Network, Route

NAMES = ["red", "blue", "green", "yellow", "orange", "purple"]


class Maker:
    """Collects links and routes as the labs do: names, MACs and addresses of the course."""

    def __init__(self) -> None:
        self.links: dict[str, list[Link]] = {"": [Link("lo", 1, "loopback", "", 65536, "down", True, "DOWN")]}
        self.routes: dict[str, list[Route]] = {}
        self.forwarding: set[str] = set()

    def network(self) -> Network:
        return Network({name: NamespaceState(name, tuple(self.links[name]), tuple(self.routes.get(name, [])),
                                             forwards_ipv4=name in self.forwarding) for name in sorted(self.links)})

    def namespace(self, name: str) -> None:
        self.links.setdefault(name, [Link("lo", 1, "loopback", "", 65536, "up", True, "UNKNOWN")])

    def bridge(self, namespace: str, address: str = "") -> None:
        self.namespace(namespace)
        mac = f"02:00:00:00:fe:{len(self.links):02x}"
        self._add(namespace, Link("br0", 0, "bridge", mac, 1500, "up", True, "UP", addresses=addresses(address)))

    def router(self, *names: str) -> None:
        for name in names:
            self.namespace(name)
            self.forwarding.add(name)

    def cable(self, one: str, other: str, one_address: str = "", other_address: str = "", blocked: str = "") -> None:
        """Join two ends; an end in a namespace with a bridge is a port of it if it has no address."""
        first, second = (Endpoint(*end.split(":")) for end in (one, other))
        for here, there, address in ((first, second, one_address), (second, first, other_address)):
            self.namespace(here.namespace)
            is_port = not address and any(link.kind == "bridge" for link in self.links[here.namespace])
            state = ("blocking" if blocked == ":".join(here) else "forwarding") if is_port else ""
            number = sum(map(len, self.links.values()))
            mac = mac_of(address) if address else f"02:00:00:00:{number // 256:02x}:{number % 256:02x}"
            self._add(here.namespace, Link(here.link, 0, "veth", mac, 1500, "up", True, "UP", "br0" if is_port else "",
                                           there, addresses(address), state))

    def host(self, name: str, address: str, to: str, gateway: str = "") -> None:
        self.cable(f"{name}:{name}0", f"{to}:to-{name}", address)
        if gateway:
            self.route(name, "default", gateway)

    def route(self, namespace: str, destination: str, gateway: str) -> None:
        self.routes.setdefault(namespace, []).append(Route(destination, gateway, "", "", "inet"))

    def change(self, end: Endpoint, **changes: object) -> None:
        links = self.links[end.namespace]
        number = [link.name for link in links].index(end.link)
        links[number] = replace(links[number], **changes)  # type: ignore[arg-type]

    def _add(self, namespace: str, link: Link) -> None:
        self.links[namespace].append(replace(link, index=len(self.links[namespace]) + 1))


def addresses(*texts: str) -> tuple[Address, ...]:
    pairs = [text.split("/") for text in texts if text]
    return tuple(Address(ip, int(length), "inet6" if ":" in ip else "inet", "global") for ip, length in pairs)


def mac_of(address: str) -> str:
    third, fourth = address.split("/", maxsplit=1)[0].split(".")[2:]
    return f"02:00:00:00:{int(third):02x}:{int(fourth):02x}"


def star(hosts: int, gateway: str = "") -> Network:
    make = Maker()
    make.bridge("sw")
    for number in range(hosts):
        name = NAMES[number] if hosts <= len(NAMES) else f"h{number + 1}"
        make.host(name, f"10.0.0.{number + 1}/24", "sw", gateway)
    return make.network()


def ring_of_switches(count: int, hosts: int, parallel: int = 0) -> Network:
    make = Maker()
    switches = [f"s{number + 1}" for number in range(count)]
    for name in switches:
        make.bridge(name)
    for number in range(count * hosts):
        make.host((NAMES * 9)[number] if count * hosts <= len(NAMES) else f"h{number + 1}", f"10.0.0.{number + 1}/24",
                  switches[number // hosts])
    joined = list(zip(switches, [*switches[1:], switches[0]], strict=True))
    for one, other in joined if count > 2 else joined[:1]:
        last = one == switches[-1]
        make.cable(f"{one}:to-{other}", f"{other}:to-{one}", blocked=f"{one}:to-{other}" if last else "")
    for number in range(parallel):
        make.cable(f"s1:to-s2-{number}", f"s2:to-s1-{number}", blocked=f"s2:to-s1-{number}")
    return make.network()


def two_lans(hosts: int) -> Network:
    make = Maker()
    make.bridge("s1")
    make.bridge("s2")
    make.router("r1")
    for third, switch in enumerate(["s1", "s2"]):
        for number in range(hosts):
            name = NAMES[third * hosts + number] if hosts < 4 else f"h{third * hosts + number + 1}"
            make.host(name, f"10.0.{third}.{number + 1}/24", switch, f"10.0.{third}.254")
        make.cable(f"r1:lan{third}", f"{switch}:to-r1", f"10.0.{third}.254/24")
    return make.network()


def routers(count: int, *, ring: bool = False) -> Network:
    """Return routers in a chain or a ring, a host behind each, and routes to the next ones."""
    make = Maker()
    names = [f"r{number + 1}" for number in range(count)]
    make.router(*names)
    for number, name in enumerate(names):
        host = (NAMES * count)[number] + ("" if number < len(NAMES) else str(number))
        make.cable(f"{host}:{host}0", f"{name}:lan0", f"10.0.{number}.1/24", f"10.0.{number}.254/24")
        make.route(host, "default", f"10.0.{number}.254")
    for number in range(count if ring else count - 1):
        one, other = names[number], names[(number + 1) % count]
        make.cable(f"{one}:to-{other}", f"{other}:to-{one}", f"10.0.{100 + number}.1/24", f"10.0.{100 + number}.2/24")
        make.route(one, f"10.0.{(number + 1) % count}.0/24", f"10.0.{100 + number}.2")
        make.route(other, f"10.0.{number}.0/24", f"10.0.{100 + number}.1")
    return make.network()


def machine(containers: int) -> Network:
    """Return a machine that runs containers, and a server outside."""
    make = Maker()
    make.bridge("", "10.0.0.254/24")
    make.router("")
    for number in range(containers):
        make.host(NAMES[number], f"10.0.0.{number + 1}/24", "", "10.0.0.254")
    make.cable(":wan0", "server:server0", "192.0.2.10/24", "192.0.2.1/24")
    return make.network()


def tree() -> Network:
    make = Maker()
    for name in ("root", "s1", "s2", "s3"):
        make.bridge(name)
    for number, name in enumerate(["s1", "s2", "s3"]):
        make.cable(f"root:to-{name}", f"{name}:to-root")
        make.host(NAMES[number], f"10.0.0.{number + 1}/24", name)
    return make.network()


def two_ways() -> Network:
    """Return two switches that two routers join."""
    make = Maker()
    make.bridge("s1")
    make.bridge("s2")
    make.router("r1", "r2")
    for third, switch in enumerate(["s1", "s2"]):
        make.host(NAMES[third], f"10.0.{third}.1/24", switch, f"10.0.{third}.254")
        for number, router in enumerate(["r1", "r2"]):
            make.cable(f"{router}:lan{third}", f"{switch}:to-{router}", f"10.0.{third}.{254 - number}/24")
    return make.network()


def crowd_with_strangers() -> Network:
    """Return 200 hosts on a switch, two of which are not like the others."""
    make = Maker()
    make.bridge("sw")
    for number in range(200):
        make.host(f"h{number + 1}", f"10.0.0.{number + 1}/24", "sw")
    make.change(Endpoint("h77", "h770"), state="down")
    make.change(Endpoint("sw", "to-h120"), port_state="blocking")
    return make.network()


# Each with the greatest width at which it needs no scrolling: 800 pixels of a notebook at 0.72 of its size, or 1,000.
NARROW, WIDE = 800 / 0.72, 1000 / 0.72
TOPOLOGIES: dict[str, tuple[Callable[[], Network], float]] = {
    **{f"star of {count}": (lambda count=count: star(count), NARROW)  # type: ignore[misc]
       for count in (1, 2, 3, 4, 5, 6, 7, 8, 9, 20, 50)},
    "star with gateway": (lambda: star(6, "10.0.0.254"), NARROW),
    "list with gateway": (lambda: star(12, "10.0.0.254"), NARROW),
    "star of 200": (lambda: star(200), WIDE),
    "200 with strangers": (crowd_with_strangers, WIDE),
    "triangle": (lambda: ring_of_switches(3, 1), NARROW),
    "bare triangle": (lambda: ring_of_switches(3, 0), NARROW),
    "triangle with hosts": (lambda: ring_of_switches(3, 2), NARROW),
    "triangle with parallel cables": (lambda: ring_of_switches(3, 1, parallel=1), NARROW),
    "loop of two switches": (lambda: ring_of_switches(2, 1, parallel=1), NARROW),
    "ring of five": (lambda: ring_of_switches(5, 1), NARROW),
    "two LANs": (lambda: two_lans(1), NARROW),
    "two LANs of two": (lambda: two_lans(2), NARROW),
    "two LANs of three": (lambda: two_lans(3), NARROW),
    "two LANs of twelve": (lambda: two_lans(12), WIDE),
    "routers in a chain": (lambda: routers(3), NARROW),
    "six routers in a chain": (lambda: routers(6), NARROW),
    "routers in a triangle": (lambda: routers(3, ring=True), NARROW),
    "machine": (lambda: machine(2), NARROW),
    "machine with four": (lambda: machine(4), NARROW),
    "tree": (tree, NARROW),
    "two ways": (two_ways, NARROW),
}


def any_network(seed: int) -> Network:
    """Return some network: up to seven namespaces, bridges in some, up to twelve cables between any two."""
    choose = random.Random(seed)  # noqa: S311  (no secret)
    names = choose.sample(["", "a", "bb", "red", "router", "switch-one", "abcdefghijklmno"], choose.randint(1, 7))
    links: dict[str, list[Link]] = {
        name: [Link("lo", 1, "loopback", "", 65536, choose.choice(["up", "down"]), True, "UNKNOWN")]
        for name in sorted({"", *names})
    }
    for name in choose.sample(names, choose.randint(0, len(names))):
        for number in range(choose.randint(1, 2)):
            links[name].append(Link(f"br{number}", 9 + number, "bridge", "", 1500, "up", True, "UP"))
    for number in range(choose.randint(0, 12)):
        ends = [Endpoint(choose.choice(names), f"{side}{number}" + "x" * choose.randint(0, 12)) for side in "ab"]
        for here, there in (ends, ends[::-1]):
            links[here.namespace].append(_any_link(choose, here, there, links[here.namespace]))
    return Network({name: NamespaceState(name, tuple(found)) for name, found in links.items()})


def any_campus(seed: int) -> Network:
    """Return some switches and routers in a tree with more cables between them, and up to 14 hosts on each, or 70."""
    choose = random.Random(seed)  # noqa: S311  (no secret)
    count = choose.choice([1, 1, 2, 3, 4, 6, 8])
    cores = [choose.choice(["s", "r", "switch-"]) + str(number) for number in range(count)]
    cores[0] = choose.choice(["", cores[0]])
    links: dict[str, list[Link]] = {}
    for name in {"": None, **dict.fromkeys(cores)}:
        links[name] = [Link("lo", 1, "loopback", "", 65536, "up", True, "UNKNOWN")]
        for number in range(choose.choice([0, 1, 1, 1, 2]) if name in cores else 0):
            links[name].append(Link(f"br{number}", 2 + number, "bridge", "02:00:00:00:00:ff", 1500, "up", True, "UP",
                                    addresses=addresses(choose.choice(["", "10.0.0.254/24"]))))
        if choose.random() < 0.3:
            links[name].append(Link("free0", 50, "veth", "02:00:00:00:00:09", 1500, "up", True, "UP",
                                    master=choose.choice(["", "br0"])))
    pairs = [(choose.choice(cores[:number]), name) for number, name in enumerate(cores) if number
             for _ in range(choose.choice([1, 1, 1, 2]))]
    pairs += [(choose.choice(cores), choose.choice(cores)) for _ in range(choose.choice([0, 0, 1, 3]))]
    for core in cores:
        for number in range(choose.choice([0, 1, 2, 3, 5, 9, 14]) if choose.random() < 0.95 else 70):
            host = f"h{number}-{core}"
            links[host] = [Link("lo", 1, "loopback", "", 65536, choose.choice(["up", "down"]), True, "UNKNOWN")]
            pairs += [(host, core)] * choose.choice([1] * 12 + [2])
    for number, (one, other) in enumerate(pairs):
        ends = [Endpoint(one, f"a{number}"), Endpoint(other, f"b{number}")]
        for here, there in (ends, ends[::-1]):
            links[here.namespace].append(_any_link(choose, here, there, links[here.namespace]))
    routes = {name: (Route("default", "10.0.0.254", "", "", "inet"),) for name in links if choose.random() < 0.5}
    return Network({name: NamespaceState(name, tuple(found), routes.get(name, ()),
                                         forwards_ipv4=choose.random() < 0.3) for name, found in sorted(links.items())})


def _any_link(choose: random.Random, here: Endpoint, there: Endpoint, links: list[Link]) -> Link:
    master = choose.choice(["", *(link.name for link in links if link.kind == "bridge")])
    found = choose.sample(["fd00::1/64", "10.0.0.1/24", "2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff/64"],
                          choose.choice([0, 0, 1, 2]))
    port_state = choose.choice(["forwarding", "blocking", "learning", "disabled"]) if master else ""
    return Link(here.link, 20 + len(links), "veth", choose.choice(["", "02:00:00:00:00:01"]), 1500,
                choose.choice(["up", "up", "down"]), choose.choice([True, True, False]), "UP", master, there,
                addresses(*found), port_state)
