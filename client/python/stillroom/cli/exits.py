"""What the exit status says.

0    done
1    failed: the server's fault, damaged bytes, not implemented, or this program's
2    usage: a wrong flag, or an argument that the server refuses
3    not found: model, version, alias, operation, package
4    conflict: the state forbids it, the name is taken, somebody else was first
5    unavailable: no answer, or not in time; trying again later may help
6    not allowed: no token, a wrong one, or one that may not
7    exhausted: a limit, a quota or a disk
8    the operation was cancelled
130  interrupted from the keyboard
"""

from __future__ import annotations

FAILURE = 1
USAGE = 2
CANCELLED = 8
INTERRUPTED = 130

BY_CODE = {
    "CANCELLED": CANCELLED,
    "UNKNOWN": FAILURE,
    "INVALID_ARGUMENT": USAGE,
    "DEADLINE_EXCEEDED": 5,
    "NOT_FOUND": 3,
    "ALREADY_EXISTS": 4,
    "PERMISSION_DENIED": 6,
    "RESOURCE_EXHAUSTED": 7,
    "FAILED_PRECONDITION": 4,
    "ABORTED": 4,
    "OUT_OF_RANGE": USAGE,
    "UNIMPLEMENTED": FAILURE,
    "INTERNAL": FAILURE,
    "UNAVAILABLE": 5,
    "DATA_LOSS": FAILURE,
    "UNAUTHENTICATED": 6,
}
