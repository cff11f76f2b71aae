"""What the network's tests share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from labsupport import Lab
from labsupport.net import Topology

sys.path.append(str(Path(__file__).parent.parent / "sandbox"))  # clients.py: clients that can be killed


@pytest.fixture
def small_lan() -> Iterator[Lab]:
    """A lab with red (10.0.0.1) and blue (10.0.0.2) at the switch sw."""
    with Lab(name="lan") as lab:
        net = Topology()
        net.switch("sw")
        net.host("red", "10.0.0.1/24", to="sw")
        net.host("blue", "10.0.0.2/24", to="sw")
        net.build(lab)
        yield lab
