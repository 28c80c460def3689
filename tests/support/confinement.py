"""What the units of systemd and the container leave a process, by the kernel's own means."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

SCRIPT = """\
import ctypes, os, sys
libc, allowed = ctypes.CDLL(None), sys.argv[1].split(",") if sys.argv[1] else []
PR_SET_NO_NEW_PRIVS, PR_SET_MDWE, ALLOW, REFUSE = 38, 65, 0x7FFF0000, 0x00050001
assert libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
assert libc.prctl(PR_SET_MDWE, 1, 0, 0, 0) == 0
if allowed:
    seccomp = ctypes.CDLL("libseccomp.so.2")
    seccomp.seccomp_init.restype = ctypes.c_void_p
    filter = ctypes.c_void_p(seccomp.seccomp_init(REFUSE))
    numbers = [seccomp.seccomp_syscall_resolve_name(name.encode()) for name in allowed]
    assert not any(seccomp.seccomp_rule_add(filter, ALLOW, number, 0) for number in numbers if number >= 0)
    assert seccomp.seccomp_load(filter) == 0
    try:
        os.setpriority(os.PRIO_PROCESS, 0, 1)
    except PermissionError:
        pass
    else:
        raise SystemExit("the filter refuses nothing")
os.execv(sys.argv[2], sys.argv[2:])
"""


def confined(syscalls: Iterable[str] = ()) -> list[str]:
    """Return a command that starts another one, without new privileges and without memory both writable and executable.

    `syscalls`: the system calls that it may use, not `setpriority` among them; by default all. Others fail with EPERM.
    """
    return [sys.executable, "-c", SCRIPT, ",".join(sorted(syscalls))]


def allowed(filters: Iterable[str]) -> set[str]:
    """Return the system calls that lines `SystemCallFilter=` leave: one allows them, and those with `~` remove some."""
    found = expanded("@default")
    for line in filters:
        names = set[str]().union(*(expanded(name) for name in line.removeprefix("~").split()))
        found = found - names if line.startswith("~") else found | names
    return found


def expanded(name: str) -> set[str]:
    """Return the system calls of a set such as `@system-service`, or a single one."""
    if not name.startswith("@"):
        return {name}
    command = ["systemd-analyze", "--no-pager", "syscall-filter", name]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    members = [line.strip() for line in said.splitlines()[1:]]
    return set[str]().union(*(expanded(member) for member in members if member and not member.startswith("#")))
