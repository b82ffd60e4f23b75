"""Takes all there is: memory, time, output, disk."""

import mmap
import os
import resource
import signal
import sys
import threading
import time

MIB = 1 << 20


def attack(prompts, completions, do, **columns):
    """The function that the column `do` names, called with the other columns."""
    arguments = {name: column[0] for name, column in columns.items()}
    return [float(globals()[do[0]](**arguments))] * len(completions)


def memory():
    """10 GB in steps that are never touched, so that a machine without limits survives it."""
    held = [mmap.mmap(-1, 256 * MIB) for _ in range(40)]
    return len(held)


def fine():
    return 1.0


def loops():
    while True:
        pass


def ignores_signals():
    for number in range(1, 32):
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(number, signal.SIG_IGN)
    while True:
        time.sleep(1)


def prints():
    """A gigabyte on both streams, and where the answers go by the streams' first numbers."""
    block = "x" * MIB
    for _ in range(512):
        sys.stdout.write(block)
        sys.stderr.write(block)
    os.write(1, b"straight to one")
    return 1.0


def disk(folder):
    """How many MiB it could write, of at most 200."""
    written = 0
    try:
        for number in range(100):
            with open(f"{folder}/{number}", "wb") as file:
                written += file.write(bytes(2 * MIB))
    except OSError:
        pass
    return written / MIB


def files(folder):
    """How many files it could make, of at most 5,000."""
    made = 0
    try:
        for number in range(5000):
            os.close(os.open(f"{folder}/f{number}", os.O_CREAT | os.O_WRONLY))
            made += 1
    except OSError:
        pass
    return made


def works_on():
    """Leaves a thread at work after its answer; tells the time that the process has used."""
    if threading.active_count() == 1:
        threading.Thread(target=_forever, daemon=True).start()
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _forever():
    while True:
        time.time()
