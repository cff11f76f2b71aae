"""Who answers for a Service, and how many connections each of them got, as the kernels of the nodes have counted.

kube-proxy's rules for iptables have counters: they tell how often a node chose an endpoint since kube-proxy wrote the
rules; it writes those of a Service anew when its endpoints change. Its rules for nftables count nothing; then the
conntrack entries are counted, which the kernel forgets some time after a connection has ended (TCP: two minutes).

Source: iptables-save(8), conntrack(8); Kubernetes documentation, EndpointSlices, Virtual IPs and Service Proxies.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from labsupport.errors import ClusterError, LessonError
from labsupport.sandbox.process import Completed

Counted = Literal["rules", "conntrack", ""]
Place = tuple[str, int]
"""Address and port."""

_CHOSEN = re.compile(r'\[(\d+):\d+\] -A KUBE-SEP-\S+ .*--comment "?([^\s":]+)(?::[^\s"]*)?"? .*'
                     r"-j DNAT --to-destination ([\d.]+):(\d+)")
_KNOWN = re.compile(r"src=\S+ dst=(\S+) sport=\d+ dport=(\d+) (?:\[\S+\] )?src=(\S+) dst=\S+ sport=(\d+) dport=\d+")
_PROXY_CHAIN = ":KUBE-SERVICES "


class Machines(Protocol):
    """What has to be known of a cluster: `open_cluster` returns it."""

    @property
    def namespace(self) -> str:
        """The Kubernetes namespace of the Service."""

    def get(self, kind: str, name: str = "") -> Any:
        """Return an object, or the list of all."""

    def nodes(self) -> list[str]:
        """Return the names of the nodes."""

    def run(self, command: str | Sequence[str], *, on: str, echo: bool) -> Completed:
        """Run a command on a node."""


@dataclass(frozen=True)
class ServiceEndpoint:
    """One address and port that answers for a Service.

    Attributes:
        pod, node: which pod, and where it is; "" if the EndpointSlice does not say.
        address, port: where it listens.
        ready: whether it gets new connections.
        requests: how many new connections the nodes have sent to it; None if that cannot be known.
        slice: the EndpointSlice that names it.
    """

    pod: str
    node: str
    address: str
    port: int
    ready: bool
    requests: int | None
    slice: str


@dataclass(frozen=True)
class ServiceState:
    """A Service at one moment.

    Attributes:
        service: as JSON data.
        endpoints: by node and pod.
        counted: where the numbers of requests come from: kube-proxy's "rules", "conntrack", or "" if from nowhere.
        missing: nodes that could not be asked.
    """

    service: dict[str, Any]
    endpoints: tuple[ServiceEndpoint, ...]
    counted: Counted
    missing: tuple[str, ...]


def service_endpoints(cluster: Machines, name: str) -> list[ServiceEndpoint]:
    """Return who answers for a Service, ready or not, and how many new connections each got: by node and pod.

    It makes visible that a Service is no process: the kernel of each node chooses a pod for every new connection, and
    counts. Numbers are those of all nodes together, since kube-proxy last wrote this Service's rules; in kube-proxy's
    nftables mode, of the connections that conntrack remembers.

    Args:
        cluster: what `open_cluster` returned.
        name: the Service's, in the notebook's namespace.

    Raises:
        ClusterError: there is no such Service, or the API server does not answer.
        CommandFailed: a node's rules could not be read.

    Effects and privileges: reads the rules of the packet filter on the nodes, where they can be entered.
    """
    return list(read_service(cluster, name).endpoints)


def read_service(cluster: Machines, name: str) -> ServiceState:
    """Return a Service, its endpoints and their numbers; see `service_endpoints`."""
    service = cluster.get("service", name)
    slices = [one for one in cluster.get("endpointslices")
              if one["metadata"].get("labels", {}).get("kubernetes.io/service-name") == name]
    counts, ways, missing = Counter[Place](), set[Counted](), list[str]()
    nodes = cluster.nodes() if has_address(service) else []
    for node in nodes:
        try:
            counted, found = _count(cluster, node, service)
        except (ClusterError, LessonError):  # stopped, or a machine that nobody reaches from here
            missing.append(node)
            continue
        counts += found
        ways.add(counted)
    endpoints = [one for each in slices for one in _endpoints(each, counts if ways else None)]
    endpoints.sort(key=lambda one: (one.node, one.pod, one.address, one.port))
    return ServiceState(service, tuple(endpoints), next(iter(sorted(ways)), ""), tuple(missing))


def _endpoints(each: dict[str, Any], counts: Counter[Place] | None) -> list[ServiceEndpoint]:
    found = []
    for one in each.get("endpoints") or []:
        for port in each.get("ports") or []:
            address = one["addresses"][0]
            requests = None if counts is None or ":" in address else counts[address, port["port"]]
            found.append(ServiceEndpoint(
                (one.get("targetRef") or {}).get("name", ""), one.get("nodeName") or "", address, port["port"],
                one.get("conditions", {}).get("ready") is not False, requests, each["metadata"]["name"]))
    return found


def _count(cluster: Machines, node: str, service: dict[str, Any]) -> tuple[Counted, Counter[Place]]:
    """Return how many connections a node has sent to each place for a Service, and how that is known."""
    rules = cluster.run(["iptables-save", "--counters", "--table", "nat"], on=node, echo=False).check().stdout
    if _PROXY_CHAIN in rules:
        return "rules", read_chosen(rules, f"{service['metadata']['namespace']}/{service['metadata']['name']}")
    entries = cluster.run(["conntrack", "--dump", "--dst-nat"], on=node, echo=False).check().stdout
    return "conntrack", read_known(entries, _front_ends(service))


def read_chosen(rules: str, service: str) -> Counter[Place]:
    """Return what `iptables-save --counters` tells about NAMESPACE/NAME: how often each endpoint was chosen."""
    found = Counter[Place]()
    for count, chosen_for, address, port in _CHOSEN.findall(rules):
        if chosen_for == service:
            found[address, int(port)] += int(count)
    return found


def read_known(entries: str, front_ends: set[Place]) -> Counter[Place]:
    """Return what `conntrack --dump` tells: how many connections to some addresses and ports went to each endpoint.

    Args:
        entries: what it printed.
        front_ends: of the Service; "" stands for any address.
    """
    return Counter((address, int(port)) for asked, asked_port, address, port in _KNOWN.findall(entries)
                   if (asked, int(asked_port)) in front_ends or ("", int(asked_port)) in front_ends)


def has_address(service: dict[str, Any]) -> bool:
    """Return whether nodes choose pods for a Service: without an address of its own, its clients do."""
    return service["spec"].get("clusterIP", "None") not in ("", "None")


def outside_addresses(service: dict[str, Any]) -> list[str]:
    """Return the addresses outside of the cluster that a Service has."""
    ingress = service.get("status", {}).get("loadBalancer", {}).get("ingress") or []
    return [one.get("ip") or one.get("hostname", "") for one in ingress] + (service["spec"].get("externalIPs") or [])


def _front_ends(service: dict[str, Any]) -> set[Place]:
    found = set[Place]()
    for port in service["spec"].get("ports") or []:
        addresses = [service["spec"].get("clusterIP", ""), *outside_addresses(service)]
        found |= {(address, port["port"]) for address in addresses if address}
        if port.get("nodePort"):
            found.add(("", port["nodePort"]))
    return found
