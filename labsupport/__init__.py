"""Labs on container networking that act on real Linux namespaces, without root, Docker or a VM."""

from labsupport.errors import LabError
from labsupport.sandbox import Lab

__all__ = ["Lab", "LabError"]
