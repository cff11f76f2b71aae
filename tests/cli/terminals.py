"""A terminal with a program in it, and the world that the program runs in."""

from __future__ import annotations

import fcntl
import json
import os
import re
import select
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

PROGRAM = str(Path(sys.executable).with_name("labsupport"))
WORLD = str(Path(__file__).with_name("world.py"))
DEADLINE_S = 20.0
BRACKETED_PASTE = re.compile(r"\x1b\[\?2004(h|l\r?)")
Notebooks = dict[str, list[str]]


def world_command(notebooks: Notebooks, *command: str) -> list[str]:
    """Return the command line that runs `command` where only these notebooks run."""
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return ["unshare", *user, "--pid", "--fork", "--mount-proc", "--kill-child",
            sys.executable, WORLD, json.dumps(notebooks), *command]


class Terminal:
    """A terminal with a program in it, and somebody who types and reads."""

    def __init__(self, command: list[str]) -> None:
        self.master, self.slave = os.openpty()
        self.resize(31, 97)
        self.before = termios.tcgetattr(self.slave)
        self.seen = ""
        self.process = subprocess.Popen(["setsid", "--ctty", *command], stdin=self.slave, stdout=self.slave,
                                        stderr=self.slave)

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def take(self) -> None:
        """Read what is there, without the marks by which bash tells a terminal that it may paste."""
        self.seen += os.read(self.master, 65536).decode(errors="replace")
        self.seen = BRACKETED_PASTE.sub("", self.seen)

    def read_until(self, text: str) -> str:
        """Return what was shown since the last call, up to and with `text`."""
        end = time.monotonic() + DEADLINE_S
        while text not in self.seen:
            left = end - time.monotonic()
            assert left > 0, f"waited {DEADLINE_S:g} s for {text!r}; on the screen: {self.seen!r}"
            if select.select([self.master], [], [], min(left, 0.1))[0]:
                self.take()
            else:
                assert self.process.poll() is None, f"it ended early; on the screen: {self.seen!r}"
        before, _, self.seen = self.seen.partition(text)
        return before + text

    def wait(self) -> int:
        """Return the program's exit status, reading meanwhile what it still shows."""
        end = time.monotonic() + DEADLINE_S
        while self.process.poll() is None:
            assert time.monotonic() < end, f"it does not end; on the screen: {self.seen!r}"
            if select.select([self.master], [], [], 0.05)[0]:
                self.take()
        while select.select([self.master], [], [], 0)[0]:
            self.take()
        return self.process.returncode

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)

    @property
    def restored(self) -> bool:
        """Whether the terminal's settings are those from before the program."""
        return termios.tcgetattr(self.slave) == self.before
