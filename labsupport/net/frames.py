"""One frame, as it passed one end of a cable, taken apart on demand."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from labsupport.net.decode import Headers, decode
from labsupport.net.headers import Arp, Ethernet, Llc, Problem, Stp, Vlan
from labsupport.net.icmp import Icmp, Icmpv6
from labsupport.net.model import Endpoint
from labsupport.net.packets import Dns, Ipv4, Ipv6, Tcp, Udp
from labsupport.net.summary import summarise

Direction = Literal["in", "out"]


@dataclass(frozen=True)
class Frame:
    """A frame that went through an interface.

    It makes visible that every layer puts a header of its own before what it carries: each is a property here, and None
    where the frame has none. The header dataclasses are in labsupport/net/headers.py, packets.py and icmp.py. Whatever
    the bytes are, no property raises; a frame that is cut short or makes no sense has the headers before that place,
    and says so in `problem` and `summary`. Checksums are not looked at: over a veth they are often not filled in.

    Attributes:
        time_ns: when, in nanoseconds since 1970.
        end: the interface, and the namespace that it is in.
        direction: "out" if that namespace sent it through the interface, "in" if it received it there.
        data: the bytes, from the destination's MAC address on.
        length_bytes: how many there were on the wire; `data` may be shorter.
    """

    time_ns: int
    end: Endpoint
    direction: Direction
    data: bytes
    length_bytes: int

    @cached_property
    def headers(self) -> Headers:
        """All headers together."""
        return decode(self.data, self.length_bytes)

    @cached_property
    def summary(self) -> str:
        """What it is, in one line; the same in every run of the same experiment, but for ports chosen by the kernel."""
        return summarise(self.headers, self.length_bytes)

    @property
    def source(self) -> str:
        """The MAC address that sent it; "" if not even that can be read."""
        return self.headers.ethernet.source if self.headers.ethernet else ""

    @property
    def destination(self) -> str:
        """The MAC address that it is for; "" if not even that can be read."""
        return self.headers.ethernet.destination if self.headers.ethernet else ""

    @property
    def problem(self) -> Problem:
        """Why it could not be read to its end: "truncated" or "malformed"; "" if it could."""
        return self.headers.problem

    @property
    def ethernet(self) -> Ethernet | None:
        """The header that every frame begins with."""
        return self.headers.ethernet

    @property
    def vlan(self) -> Vlan | None:
        """The outermost 802.1Q tag."""
        return self.headers.vlan

    @property
    def llc(self) -> Llc | None:
        """The header of frames that have a length and no ethertype."""
        return self.headers.llc

    @property
    def stp(self) -> Stp | None:
        """The message of the spanning tree protocol."""
        return self.headers.stp

    @property
    def arp(self) -> Arp | None:
        """The ARP message."""
        return self.headers.arp

    @property
    def ipv4(self) -> Ipv4 | None:
        """The IPv4 header."""
        return self.headers.ipv4

    @property
    def ipv6(self) -> Ipv6 | None:
        """The IPv6 header."""
        return self.headers.ipv6

    @property
    def icmp(self) -> Icmp | None:
        """The ICMP message."""
        return self.headers.icmp

    @property
    def icmpv6(self) -> Icmpv6 | None:
        """The ICMPv6 message."""
        return self.headers.icmpv6

    @property
    def udp(self) -> Udp | None:
        """The UDP header."""
        return self.headers.udp

    @property
    def tcp(self) -> Tcp | None:
        """The TCP header."""
        return self.headers.tcp

    @property
    def dns(self) -> Dns | None:
        """The question of a DNS message over UDP port 53."""
        return self.headers.dns
