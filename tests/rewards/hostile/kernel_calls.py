"""Asks the kernel by number, past the C library, for what leads out of a sandbox."""

import ctypes
import errno
import os

CALLS = {
    "x86_64": {
        "socket": 41, "socketpair": 53, "fork": 57, "vfork": 58, "execve": 59, "kill": 62,
        "ptrace": 101, "setsid": 112, "mount": 165, "keyctl": 250, "unshare": 272, "setns": 308,
        "open_by_handle_at": 304, "process_vm_readv": 310, "memfd_create": 319, "bpf": 321,
        "userfaultfd": 323, "io_uring_setup": 425, "clone3": 435, "pidfd_getfd": 438, "chmod": 90,
        "perf_event_open": 298, "shmget": 29, "x32 read": 0x40000000, "the newest": 470,
    },
    "aarch64": {
        "socket": 198, "execve": 221, "kill": 129, "ptrace": 117, "setsid": 157, "mount": 40,
        "keyctl": 219, "unshare": 97, "setns": 268, "memfd_create": 279, "bpf": 280,
        "io_uring_setup": 425, "clone3": 435, "pidfd_getfd": 438, "the newest": 470,
    },
}  # fmt: skip


def attack(prompts, completions, do, **columns):
    """The function that the column `do` names, called with the other columns."""
    arguments = {name: column[0] for name, column in columns.items()}
    return [float(globals()[do[0]](**arguments))] * len(completions)


def calls():
    """How many of them the kernel even looked at; with no arguments most fail for other reasons."""
    library = ctypes.CDLL(None, use_errno=True)
    looked_at = []
    for name, number in CALLS[os.uname().machine].items():
        zeros = [ctypes.c_long(0)] * 6
        answer = library.syscall(ctypes.c_long(number), *zeros)
        if answer >= 0 or ctypes.get_errno() not in (errno.EPERM, errno.ENOSYS):
            looked_at.append(name)
    if looked_at:
        raise ValueError(" ".join(looked_at))
    return 0.0
