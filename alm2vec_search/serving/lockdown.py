"""What a process gives up, for good, before it touches bytes of a stranger.

Everywhere that has `resource`: memory, processor time, written bytes, descriptors, processes and
core dumps are limited. On Linux also: no privileges can be gained, no other process can look
inside, and, with Landlock, no file can be opened and no TCP connection made. What a system lacks
is left out.
"""

from __future__ import annotations

import ctypes
import struct
import sys
from contextlib import suppress

_PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 4, 38
# The same numbers on every architecture of Linux, as for all that came after 2019.
_LANDLOCK_CREATE_RULESET, _LANDLOCK_RESTRICT_SELF = 444, 446
_LANDLOCK_VERSION = 1  # the flag that asks which one this kernel has
_DESCRIPTORS = 32


def limit_resources(*, cpu_s: int, memory_bytes: int, file_bytes: int) -> None:
    """From now on, and not to be raised again. Without `resource`, nothing is limited.

    Args:
        cpu_s: more than was used until now, in seconds; then SIGXCPU ends the process.
        memory_bytes: of address space, all that is loaded already among it.
        file_bytes: the most that a file may be written up to.
    """
    try:
        import resource
    except ImportError:  # Windows
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu_s += round(used.ru_utime + used.ru_stime)
    limits = {
        "RLIMIT_CPU": (cpu_s, cpu_s + 1),
        "RLIMIT_AS": (memory_bytes, memory_bytes),
        "RLIMIT_FSIZE": (file_bytes, file_bytes),
        "RLIMIT_NOFILE": (_DESCRIPTORS, _DESCRIPTORS),
        "RLIMIT_NPROC": (0, 0),  # no new ones; the superuser may nevertheless
        "RLIMIT_CORE": (0, 0),
    }
    for name, limit in limits.items():
        # macOS has no RLIMIT_AS that it heeds; a limit that is lower already can't be raised
        with suppress(AttributeError, ValueError, OSError):
            resource.setrlimit(getattr(resource, name), limit)


def shut_in() -> int:
    """Give up files, connections and privileges, where this is Linux.

    Returns:
        The version of Landlock that guards now; 0: none does, and files can still be opened.
    """
    if sys.platform != "linux":
        return 0
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    return _shut_with_landlock(libc)


def _shut_with_landlock(libc: ctypes.CDLL) -> int:
    """All that this version of it knows is forbidden, and there are no exceptions."""
    syscall = libc.syscall
    syscall.restype = ctypes.c_long
    number, pointer, word = ctypes.c_long, ctypes.c_void_p, ctypes.c_size_t
    version = int(
        syscall(number(_LANDLOCK_CREATE_RULESET), pointer(None), word(0), word(_LANDLOCK_VERSION))
    )
    if version < 1:
        return 0
    file_rights = {1: 13, 2: 14, 3: 15, 4: 15}.get(version, 16)  # bits
    rules = struct.pack("=Q", (1 << file_rights) - 1)
    if version >= 4:
        rules += struct.pack("=Q", 0b11)  # TCP: bind, connect
    if version >= 6:
        rules += struct.pack("=Q", 0b11)  # abstract sockets, and signals to others
    ruleset = int(syscall(number(_LANDLOCK_CREATE_RULESET), rules, word(len(rules)), word(0)))
    if ruleset < 0:
        return 0
    # the descriptor stays open: it ends with the process, and can only take more away
    shut = syscall(number(_LANDLOCK_RESTRICT_SELF), ctypes.c_int(ruleset), word(0)) == 0
    return version if shut else 0
