"""Makes TCP connections one after the other, and says how long that took; and the server that greets them.

    python3 connector.py serve
    python3 connector.py connect HOST COUNT
"""

import socket
import sys
import time

PORT, PATIENCE_S = 80, 20.0
GREETING = b"hello"


def serve():
    with socket.create_server(("", PORT), backlog=500) as listener:
        while True:
            with listener.accept()[0] as stream:
                stream.sendall(GREETING)


def connect(host, count):
    begin = time.perf_counter()
    for _ in range(count):
        with socket.create_connection((host, PORT), PATIENCE_S) as stream:
            if stream.recv(len(GREETING)) != GREETING:
                sys.exit("no greeting")
    print(time.perf_counter() - begin)


if __name__ == "__main__":
    serve() if sys.argv[1] == "serve" else connect(sys.argv[2], int(sys.argv[3]))
