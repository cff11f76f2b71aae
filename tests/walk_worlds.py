"""Networks whose packets have something to meet, and servers in them."""

from __future__ import annotations

from labsupport import Lab
from labsupport.net import Topology, listeners
from labsupport.waiting import wait_until

SERVER = ("import socketserver\n"
          "class Answer(socketserver.BaseRequestHandler):\n"
          "    def handle(self): self.request.sendall(b'hello')\n"
          "class Many(socketserver.ThreadingTCPServer): request_queue_size = 500; daemon_threads = True\n"
          "Many(('0.0.0.0', 80), Answer).serve_forever()")
UDP_SERVER = ("import socket\n"
              "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('0.0.0.0', 53))\n"
              "while True: d, a = s.recvfrom(2000); s.sendto(d.upper(), a)")
CONNECT = ("import socket, sys\n"
           "s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 5); assert s.recv(9) == b'hello'")
MANY = ("import socket, sys\n"
        "made = [socket.socket() for _ in range(int(sys.argv[3]))]\n"
        "for s in made: s.setblocking(False); s.connect_ex((sys.argv[1], int(sys.argv[2])))\n"
        "for s in made: s.settimeout(10); assert s.recv(9) == b'hello'")
SEND_UDP = ("import socket, sys\n"
            "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(5)\n"
            "s.sendto(b'the same words', (sys.argv[1], int(sys.argv[2]))); assert s.recv(99) == b'THE SAME WORDS'")


def translated() -> Topology:
    """red and gw at the switch sw; gw masquerades red's network on wan0, and passes its port 8080 on to red:80."""
    net = Topology()
    net.switch("sw")
    net.host("red", "10.0.0.1/24", to="sw", gateway="10.0.0.254")
    net.router("gw")
    net.cable("gw:lan0", "sw:to-gw")
    net.address("gw:lan0", "10.0.0.254/24")
    net.switch("wan")
    net.cable("gw:wan0", "wan:to-gw")
    net.address("gw:wan0", "203.0.113.1/24")
    net.host("server", "203.0.113.80/24", to="wan")
    net.masquerade("gw:wan0", source="10.0.0.0/24")
    net.publish("gw:wan0", 8080, to="10.0.0.1:80")
    return net


def two_homes() -> Topology:
    """left and right have the same address, each behind a router of its own; both reach server."""
    net = Topology()
    net.switch("wan")
    net.host("server", "203.0.113.80/24", to="wan")
    for number, side in enumerate(("left", "right"), 11):
        net.router(f"{side}-gw")
        net.namespace(side)
        net.cable(f"{side}:eth0", f"{side}-gw:lan0")
        net.address(f"{side}:eth0", "192.168.1.2/24")
        net.address(f"{side}-gw:lan0", "192.168.1.1/24")
        net.route(side, "default", via="192.168.1.1")
        net.cable(f"{side}-gw:wan0", f"wan:to-{side}")
        net.address(f"{side}-gw:wan0", f"203.0.113.{number}/24")
        net.masquerade(f"{side}-gw:wan0", source="192.168.1.0/24")
    return net


def serve(lab: Lab, namespace: str) -> None:
    """Start a server on TCP port 80 that greets and closes."""
    _start(lab, namespace, SERVER, ("tcp", 80))


def serve_udp(lab: Lab, namespace: str) -> None:
    """Start a server on UDP port 53 that answers in capital letters."""
    _start(lab, namespace, UDP_SERVER, ("udp", 53))


def _start(lab: Lab, namespace: str, program: str, wanted: tuple[str, int]) -> None:
    lab.start(["python3", "-I", "-c", program], namespace=namespace)
    wait_until(lambda: wanted in [(one.protocol, one.port) for one in listeners(lab, namespace)],
               what="the server to listen", deadline_s=10)


def python(lab: Lab, namespace: str, program: str, *arguments: str) -> None:
    lab.run(["python3", "-I", "-c", program, *arguments], namespace=namespace, echo=False).check()
