"""One private Linux and the agent that acts inside it."""

from labsupport.sandbox.lab import Lab
from labsupport.sandbox.process import Completed, Process
from labsupport.sandbox.running import RunningLab, find_running_labs

__all__ = ["Completed", "Lab", "Process", "RunningLab", "find_running_labs"]
