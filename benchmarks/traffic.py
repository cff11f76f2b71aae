"""How fast TCP is between two pods: one runs `serve`, another `measure`.

    python3 traffic.py serve
    python3 traffic.py measure HOST...

`measure` goes round by round through all hosts, so that what else the machine does hits all alike, and prints for each
host the medians: seconds for a round trip of one byte, seconds for a new connection with one round trip, bytes per
second.
"""

import json
import socket
import statistics
import sys
import threading
import time

PORT = 7000
ROUNDS, ROUND_TRIPS, CONNECTIONS, STREAM_S = 5, 500, 100, 0.4
PATIENCE_S = 20.0
PIECE_BYTES = 1 << 18
ECHO, SINK = b"e", b"s"


def serve():
    with socket.create_server(("", PORT), backlog=128) as listener:
        while True:
            threading.Thread(target=answer, args=listener.accept()[:1], daemon=True).start()


def answer(stream):
    with stream:
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if stream.recv(1) == ECHO:
            while data := stream.recv(1):
                stream.sendall(data)
        else:
            room, received = bytearray(PIECE_BYTES), 0
            while count := stream.recv_into(room):
                received += count
            stream.sendall(b"%d" % received)


def connect(host):
    stream = socket.create_connection((host, PORT), PATIENCE_S)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return stream


def trip(stream):
    begin = time.perf_counter()
    stream.sendall(b"x")
    stream.recv(1)
    return time.perf_counter() - begin


def round_trip_s(host):
    with connect(host) as stream:
        stream.sendall(ECHO)
        return statistics.median(trip(stream) for _ in range(ROUND_TRIPS))


def connection_s(host):
    times = []
    for _ in range(CONNECTIONS):
        begin = time.perf_counter()
        with connect(host) as stream:
            stream.sendall(ECHO + b"x")
            stream.recv(1)
            times.append(time.perf_counter() - begin)
    return statistics.median(times)


def bytes_per_s(host):
    """Return what has arrived, as the receiver says, by the time until it says so."""
    piece = bytes(PIECE_BYTES)
    with connect(host) as stream:
        begin = time.perf_counter()
        stream.sendall(SINK)
        while time.perf_counter() < begin + STREAM_S:
            stream.sendall(piece)
        stream.shutdown(socket.SHUT_WR)
        received = int(stream.recv(32))
        return received / (time.perf_counter() - begin)


def await_service(host):
    """Wait until kube-proxy has made the Service on this node."""
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            connect(host).close()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)
        else:
            return


def measure(hosts):
    found = {host: [] for host in hosts}
    for host in hosts:
        await_service(host)
    for _ in range(ROUNDS):
        for host in hosts:
            found[host].append((round_trip_s(host), connection_s(host), bytes_per_s(host)))
    print(json.dumps({host: [statistics.median(values) for values in zip(*rounds, strict=True)]
                      for host, rounds in found.items()}))


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve()
    else:
        measure(sys.argv[2:])
