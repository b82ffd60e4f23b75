"""Starts what should outlive it, and turns on the processes beside it. Every number is small."""

import ctypes
import os
import signal
import subprocess
import threading
import time


def attack(prompts, completions, do, **columns):
    """The function that the column `do` names, called with the other columns."""
    arguments = {name: column[0] for name, column in columns.items()}
    return [float(globals()[do[0]](**arguments))] * len(completions)


def fork_bomb(most=200):
    """How many children it got; they sleep, and are few enough for any machine."""
    started = 0
    for _ in range(most):
        try:
            child = os.fork()
        except OSError:
            break
        if child == 0:
            time.sleep(30)
            os._exit(0)
        started += 1
    return started


def thread_bomb(most=500):
    threading.stack_size(32768)
    go, started = threading.Event(), 0
    for _ in range(most):
        try:
            threading.Thread(target=go.wait, args=(20,), daemon=True).start()
        except RuntimeError:
            break
        started += 1
    go.set()
    return started


def daemon(note):
    """Leaves its session by the book, then writes its number."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            with open(note, "w") as file:
                file.write(str(os.getpid()))
            time.sleep(30)
        os._exit(0)
    time.sleep(0.3)
    return 1.0


def program():
    return len(subprocess.check_output(["/bin/echo", "x"]))


def kills(pid):
    os.kill(pid, signal.SIGKILL)
    return 1.0


def kills_by_thread(pid):
    """tgkill(2), which the filter lets through for oneself."""
    library = ctypes.CDLL(None, use_errno=True)
    if library.syscall(234 if os.uname().machine == "x86_64" else 131, pid, pid, 9) != 0:
        raise OSError(ctypes.get_errno(), "tgkill")
    return 1.0


def traces(pid):
    library = ctypes.CDLL(None, use_errno=True)
    if library.ptrace(16, pid, None, None) != 0:
        raise OSError(ctypes.get_errno(), "ptrace")
    os.waitpid(pid, 0x40000000)
    library.ptrace(17, pid, None, None)
    return 1.0


def reads_memory(pid):
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb") as memory:
        memory.seek(int(maps.readline().split("-")[0], 16))
        return len(memory.read(16))
