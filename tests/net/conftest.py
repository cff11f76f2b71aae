"""What the network's tests share."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent / "sandbox"))  # clients.py: clients that can be killed
