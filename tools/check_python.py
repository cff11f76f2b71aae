"""Prints the interpreter that runs it if the course can use it; otherwise says why not on stderr, and exits with 1.

tools/python.sh runs it with every interpreter it finds, so it must also parse in old ones.
"""

import os
import sys


def closed_to_others(path):
    """Return the first part of `path` that an ordinary user cannot pass, or None."""
    path = os.path.realpath(path)
    while True:
        mode = os.stat(path).st_mode
        if not mode & 0o001 or (path.startswith(sys.base_prefix) and not mode & 0o004):
            return path
        if path == "/":
            return None
        path = os.path.dirname(path)


def fault():
    """Return why the course cannot use this interpreter, or None."""
    if sys.version_info < (3, 11):
        return "is Python %d.%d; the course needs 3.11 or newer" % sys.version_info[:2]
    for module in ("venv", "ensurepip"):
        try:
            __import__(module)
        except ImportError:
            return "has no module %s; on Debian and Ubuntu the package python3-venv brings it" % module
    if os.geteuid() == 0:
        # Labs of root run as unprivileged ids of the host, and so do half of the tests.
        for path in (sys.executable, sys.base_prefix, os.path.dirname(os.__file__)):
            closed = closed_to_others(path)
            if closed:
                return "lies behind %s, where ordinary users cannot go, and labs of root run as one" % closed
    return None


reason = fault()
if reason:
    sys.stderr.write("  %s %s\n" % (sys.executable, reason))
    sys.exit(1)
sys.stdout.write("%s\n" % getattr(sys, "_base_executable", sys.executable))
