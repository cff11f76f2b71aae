"""The README's Python does what the README says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parent.parent.parent / "README.md"


def test_its_python_runs_and_leaves_the_file(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    (code,) = [block for block in blocks if block.startswith("from ")]  # a whole program
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=50,
                          check=True)
    assert "1 received" in done.stdout
    read = ["tcpdump", "-n", "-r", tmp_path / "blue.pcapng"]
    shown = subprocess.run(read, capture_output=True, text=True, timeout=20, check=True).stdout
    assert "10.0.0.1 > 10.0.0.2: ICMP echo request" in shown
