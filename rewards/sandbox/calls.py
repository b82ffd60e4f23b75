"""The system calls that a sandboxed reward may make: name, number on x86-64, number on ARM64.

Enough for Python, NumPy and torch in one process with threads, and no more: no sockets, no new
processes or programs, no signals, mounts, keys, tracing, shared or anonymous files, and nothing
that changes the mode or times of a file, which Landlock does not watch. A number comes from
asm/unistd_64.h or asm-generic/unistd.h; "-" where the machine has no such call.
"""

_TABLE = """
read 0 63; write 1 64; readv 19 65; writev 20 66; pread64 17 67; pwrite64 18 68; lseek 8 62
close 3 57; close_range 436 436; dup 32 23; dup2 33 -; dup3 292 24; pipe 22 -; pipe2 293 59
open 2 -; openat 257 56; openat2 437 437; sendfile 40 71
stat 4 -; fstat 5 80; lstat 6 -; newfstatat 262 79; statx 332 291; statfs 137 43; fstatfs 138 44
access 21 -; faccessat 269 48; faccessat2 439 439; readlink 89 -; readlinkat 267 78
getdents64 217 61; getcwd 79 17; chdir 80 49; fchdir 81 50; mkdir 83 -; mkdirat 258 34
rmdir 84 -; unlink 87 -; unlinkat 263 35; rename 82 -; renameat 264 38; renameat2 316 276
ftruncate 77 46; fsync 74 82; fdatasync 75 83; fadvise64 221 223; fallocate 285 47; umask 95 166

poll 7 -; ppoll 271 73; select 23 -; pselect6 270 72; eventfd2 290 19
epoll_create1 291 20; epoll_ctl 233 21; epoll_wait 232 -; epoll_pwait 281 22

brk 12 214; mmap 9 222; munmap 11 215; mprotect 10 226; mremap 25 216; madvise 28 233
mincore 27 232; msync 26 227; membarrier 324 283; get_mempolicy 239 236

futex 202 98; set_robust_list 273 99; get_robust_list 274 100; rseq 334 293
set_tid_address 218 96; exit 60 93; exit_group 231 94; arch_prctl 158 -
sched_yield 24 124; sched_getaffinity 204 123; sched_getparam 143 121; sched_getscheduler 145 120
getcpu 309 168; getpriority 140 141

rt_sigaction 13 134; rt_sigprocmask 14 135; rt_sigreturn 15 139; rt_sigpending 127 136
rt_sigtimedwait 128 137; sigaltstack 131 132; restart_syscall 219 128
nanosleep 35 101; clock_nanosleep 230 115; clock_gettime 228 113; clock_getres 229 114
gettimeofday 96 169; time 201 -; getitimer 36 102; setitimer 38 103; alarm 37 -; times 100 153

getpid 39 172; getppid 110 173; gettid 186 178; getpgrp 111 -; getpgid 121 155; getsid 124 156
getuid 102 174; geteuid 107 175; getgid 104 176; getegid 108 177; getresuid 118 148
getresgid 120 150; getgroups 115 158; getrusage 98 165; getrlimit 97 163; sysinfo 99 179
uname 63 160; getrandom 318 278
"""

# Allowed with some arguments only, or answered apart: rewards/sandbox/seccomp.py says which.
_WATCHED = """
clone 56 220; clone3 435 435; tgkill 234 131; prctl 157 167; prlimit64 302 261; fcntl 72 25
ioctl 16 29
"""

MACHINES = {"x86_64": 0, "aarch64": 1}


def allowed(machine: str) -> list[int]:
    """The numbers of the calls that need no look at their arguments, the commonest first."""
    return list(_numbers(_TABLE, machine).values())


def named(machine: str) -> dict[str, int]:
    """Every call in the table, by name."""
    return _numbers(_TABLE + _WATCHED, machine)


def watched(machine: str) -> dict[str, int]:
    """Names and numbers of the calls whose arguments decide."""
    return _numbers(_WATCHED, machine)


def _numbers(table: str, machine: str) -> dict[str, int]:
    rows = [row.split() for row in table.replace("\n", ";").split(";") if row.strip()]
    column = 1 + MACHINES[machine]
    return {row[0]: int(row[column]) for row in rows if row[column] != "-"}
