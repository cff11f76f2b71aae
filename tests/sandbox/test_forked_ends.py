"""`Lab.fork`: how such code ends by signals, and with its client."""

from __future__ import annotations

from pathlib import Path

import pytest
from clients import FORKED_WAITS, client


@pytest.fixture
def made(tmp_path: Path) -> None:
    """The module forked_waits, for clients that run in `tmp_path`."""
    (tmp_path / "forked_waits.py").write_text(FORKED_WAITS)


STARTED_BY_NOHUP = """
import signal
signal.signal(signal.SIGHUP, signal.SIG_IGN)
from labsupport import Lab
lab = Lab()
for _ in range(50):
    process = lab.fork(("forked_waits",))
    process.send_signal(signal.SIGHUP)
    while process.exit_status is None:
        process.read(10)
    print(process.exit_status)
"""


def test_a_signal_that_comes_at_once_ends_it_also_where_pid_1_ignores_it(made, tmp_path):
    with client(STARTED_BY_NOHUP, cwd=tmp_path) as running:
        status, out, err = running.end(30)
    assert (status, err) == (0, "")
    assert out.split() == ["-1"] * 50


INTERRUPTED = """
import signal, threading, os
from labsupport import Lab
lab = Lab()
for delay_s in (0.0, 0.002, 0.05, 0.3):
    timer = threading.Timer(delay_s, os.kill, (os.getpid(), signal.SIGINT))
    try:
        timer.start()
        lab.run_forked(("forked_waits",))
    except KeyboardInterrupt:
        print("interrupted")
print(lab.run("ls /proc | grep -c '^[0-9]'", echo=False).stdout)
"""


def test_ctrl_c_ends_it(made, tmp_path):
    with client(INTERRUPTED, cwd=tmp_path) as running:
        status, out, err = running.end(30)
    assert (status, err) == (0, "")
    assert out.split() == ["interrupted"] * 4 + ["4"]


def test_a_killed_client_takes_it_along(made, tmp_path):
    """The fixture `no_lab_left` looks."""
    code = ("from labsupport import Lab\nlab = Lab()\nprint(lab.fork(('forked_waits',)).read(10))\n"
            "import signal\nsignal.pause()")
    with client(code, cwd=tmp_path) as running:
        assert "begun" in running.read_line()
        running.kill()
