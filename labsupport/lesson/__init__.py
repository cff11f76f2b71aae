"""What a notebook imports: a lab or a cluster, magics that run commands in it, and exercises that check themselves."""

from labsupport.lesson.exercise import Check, Item, check, count_points
from labsupport.lesson.session import open_cluster, open_lab

__all__ = ["Check", "Item", "check", "count_points", "open_cluster", "open_lab"]
