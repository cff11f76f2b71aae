"""What the tests of forwards share: a server that runs in a lab, its clients, and looks at what there is."""

from __future__ import annotations

import gc
import socket
import struct
from contextlib import suppress
from pathlib import Path

from labsupport import Lab
from labsupport.sandbox import Process
from labsupport.sandbox.forward import Tunnel
from labsupport.waiting import wait_until

# The first line of a connection says what it is for:
#   echo         send everything back, until the end of the input
#   send COUNT   send so many bytes, then close
#   count        read to the end of the input, then say how many bytes came
#   abort        close with a reset
#   hold         never read
#   sent         say how many bytes were sent on connections of the kind `send`
SERVER = r"""
import os, socket, struct, sys, threading
sent = 0
def serve(c):
    global sent
    c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    line = b""
    while not line.endswith(b"\n"):
        line += c.recv(1)
    kind, *words = line.split()
    if kind == b"echo":
        while data := c.recv(1 << 16):
            c.sendall(data)
    elif kind == b"send":
        left, block = int(words[0]), bytes(range(256)) * 256
        while left:
            count = c.send(block[:left])
            sent += count
            left -= count
    elif kind == b"count":
        total = 0
        while data := c.recv(1 << 16):
            total += len(data)
        c.sendall(b"%d" % total)
    elif kind == b"abort":
        c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    elif kind == b"hold":
        c.sendall(b"holding\n")
        threading.Event().wait()
    elif kind == b"sent":
        c.sendall(b"%d" % sent)
    c.close()
def guarded(c):
    try:
        serve(c)
    except OSError:
        c.close()
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
listener = socket.create_server((sys.argv[1], int(sys.argv[2])), family=family, backlog=1024)
os.write(1, b"up\n")
while True:
    threading.Thread(target=guarded, args=(listener.accept()[0],), daemon=True).start()
"""


def start_server(lab: Lab, address: str = "127.0.0.1", port: int = 7, *, namespace: str = "") -> Process:
    """Start the server; it listens when this returns."""
    server = lab.start(["python3", "-c", SERVER, address, str(port)], namespace=namespace)
    assert server.read(10) == [("stdout", b"up\n")]
    return server


def make_namespace(lab: Lab, name: str) -> None:
    lab.run(f"ip netns add {name} && ip -n {name} link set lo up", echo=False).check()


def connect(address: tuple[str, int], line: str = "") -> socket.socket:
    """Connect to a forward, and tell the server what for."""
    connection = socket.create_connection(address, timeout=20)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if line:
        connection.sendall(line.encode() + b"\n")
    return connection


def read_to_end(connection: socket.socket) -> bytes:
    data = bytearray()
    while part := connection.recv(1 << 18):
        data += part
    return bytes(data)


def exchange(connection: socket.socket, data: bytes) -> bytes:
    """Send, and read as many bytes."""
    connection.sendall(data)
    answer = b""
    while len(answer) < len(data):
        part = connection.recv(len(data) - len(answer))
        assert part, f"the connection ended after {len(answer)} bytes of {len(data)}"
        answer += part
    return answer


def ask(address: tuple[str, int], line: str) -> bytes:
    """Make a connection of one line, and read it to its end."""
    with connect(address, line) as connection:
        return read_to_end(connection)


def was_reset(connection: socket.socket) -> bool:
    """Read to the end of a connection, and close it; return whether that end was a reset."""
    with connection, suppress(ConnectionResetError, BrokenPipeError):
        read_to_end(connection)
        return False
    return True


def turns_away(address: tuple[str, int]) -> bool:
    """Return whether a fresh connection is reset, which may be so soon that even `connect` says it."""
    with suppress(ConnectionResetError):
        return was_reset(connect(address))
    return True


def abort(connection: socket.socket) -> None:
    """Close it with a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def open_files() -> list[str]:
    """Return what this process has open, but for the eventfds of labs that pytest has not forgotten yet."""
    gc.collect()  # what is in a cycle holds descriptors until then
    found = []
    for fd in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the one of this loop
            found.append(str(fd.readlink()))
    return sorted(name for name in found if "eventfd" not in name)


def idle(tunnel: Tunnel) -> None:
    wait_until(lambda: tunnel.connections == 0, what="no connections", deadline_s=5)


def helpers(lab: Lab) -> list[int]:
    """Return the process ids in the lab of copies of PID 1."""
    names = lab.run("grep -sl labsupport-[a]gent /proc/[0-9]*/cmdline", echo=False).stdout.split()
    assert "/proc/1/cmdline" in names
    return [int(name.split("/")[2]) for name in names if name != "/proc/1/cmdline"]


CLIENT = """
import socket, struct, sys, threading
address = sys.argv[1], int(sys.argv[2])
def connect():
    return socket.create_connection(address, timeout=20)
def read_to_end(c):
    data = bytearray()
    while part := c.recv(1 << 18):
        data += part
    return bytes(data)
def was_reset(c):
    try:
        read_to_end(c)
    except (ConnectionResetError, BrokenPipeError):
        return True
    return False
"""


def run_client(lab: Lab, address: tuple[str, int], code: str, *, namespace: str = "") -> str:
    """Run a client inside the lab; return what it prints."""
    argv = ["python3", "-c", CLIENT + code, address[0], str(address[1])]
    return lab.run(argv, namespace=namespace, echo=False).check().stdout.strip()


def echo_back(connection: socket.socket) -> None:
    while data := connection.recv(1 << 16):
        connection.sendall(data)


HELLO = """
with connect() as c:
    c.sendall(b"hello")
    c.shutdown(socket.SHUT_WR)
    print(read_to_end(c).decode())
"""
