"""Serves Weaviate on two ports of 127.0.0.1.

It listens on every address of the machine, whatever it is told. So it runs in a network namespace in which there is nothing but itself, and
what comes to the two ports is carried there: a socket belongs to the namespace in which it was made, and a thread to another.
"""

import ctypes
import os
import pathlib
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
NOT_INSTALLED = 69
REST, GRPC = 8080, 50051  # Inside.

SETTINGS = {
    "AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED": "false",
    "AUTHENTICATION_APIKEY_ENABLED": "true",
    "AUTHENTICATION_APIKEY_ALLOWED_KEYS": "secret",
    "AUTHENTICATION_APIKEY_USERS": "vectide",
    "CLUSTER_ADVERTISE_ADDR": "127.0.0.1",
    "CLUSTER_HOSTNAME": "node1",
    "CLUSTER_IN_LOCALHOST": "true",
    "DEFAULT_VECTORIZER_MODULE": "none",
    "DISABLE_TELEMETRY": "true",
    "RAFT_BOOTSTRAP_EXPECT": "1",
}


def enter_empty_network():
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0 and libc.unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0:
        print("this machine does not let it have a network of its own", file=sys.stderr)
        sys.exit(NOT_INSTALLED)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def carry(source, target):
    try:
        while data := source.recv(1 << 16):
            target.sendall(data)
    except OSError:
        pass
    for end, how in ((source, socket.SHUT_RD), (target, socket.SHUT_WR)):
        try:
            end.shutdown(how)
        except OSError:
            pass


def forward(listener, port):
    while True:
        outside, _ = listener.accept()
        try:
            inside = socket.create_connection(("127.0.0.1", port))
        except OSError:
            outside.close()
            continue
        for end in (outside, inside):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for source, target in ((outside, inside), (inside, outside)):
            threading.Thread(target=carry, args=(source, target), daemon=True).start()


def answers():
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{REST}/v1/.well-known/ready", timeout=2) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


def main():
    server, folder, port = sys.argv[1], pathlib.Path(sys.argv[2]), int(sys.argv[3])
    listeners = [socket.create_server(("127.0.0.1", port + more)) for more in (0, 1)]
    enter_empty_network()
    folder.mkdir(parents=True, exist_ok=True)
    environment = os.environ | SETTINGS | {"PERSISTENCE_DATA_PATH": str(folder / "data")}
    with open(folder / "log", "ab") as log:
        process = subprocess.Popen(
            [server, "--scheme", "http", "--host", "127.0.0.1", "--port", str(REST)],
            env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )
    try:
        while not answers():
            if process.poll() is not None:
                sys.exit(f"the server ended: {(folder / 'log').read_text()[-2000:]}")
            time.sleep(0.05)
        for listener, inside in zip(listeners, (REST, GRPC)):
            threading.Thread(target=forward, args=(listener, inside), daemon=True).start()
        print(f"http://127.0.0.1:{port} http://127.0.0.1:{port + 1}", flush=True)
        sys.stdin.read()
    finally:
        # At once, as in a crash: what was answered must be there all the same.
        process.kill()
        process.wait()


main()
