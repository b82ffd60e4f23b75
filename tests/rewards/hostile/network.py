"""Sends a word to whoever listens."""

import socket


def attack(prompts, completions, do, **columns):
    """The function that the column `do` names, called with the other columns."""
    arguments = {name: column[0] for name, column in columns.items()}
    return [float(globals()[do[0]](**arguments))] * len(completions)


def tcp(port):
    with socket.create_connection(("127.0.0.1", port), timeout=2) as link:
        link.sendall(b"secret")
    return 1.0


def udp(port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.sendto(b"secret", ("127.0.0.1", port))
    return 1.0


def unix(path):
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(path)
        link.sendall(b"secret")
    return 1.0


def name_lookup():
    socket.getaddrinfo("localhost", 80)
    return 1.0
