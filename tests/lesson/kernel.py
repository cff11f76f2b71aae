"""A real Jupyter kernel, as JupyterLab starts it, for tests that look at what a notebook shows."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

DEADLINE_S = 60.0


@dataclass
class Shown:
    """What one cell showed."""

    status: str = ""
    text: str = ""
    displayed: list[dict[str, Any]] = field(default_factory=list)
    error: str = ""
    traceback: str = ""

    @property
    def plain(self) -> list[str]:
        return [data["text/plain"] for data in self.displayed]


class Kernel:
    """Starts a kernel; `run` runs a cell in it."""

    def __init__(self, folder: Path) -> None:
        self.manager = KernelManager(transport="ipc", ip=str(folder / "k"))
        self.manager.start_kernel(stdout=-3, stderr=-3, cwd=str(folder))
        self.client: BlockingKernelClient = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=DEADLINE_S)

    def __enter__(self) -> Kernel:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)

    @property
    def pid(self) -> int:
        return int(self.manager.provisioner.process.pid)

    def interrupt(self) -> None:
        """What the stop button does."""
        self.manager.signal_kernel(signal.SIGINT)

    def run(self, source: str, *, interrupt_at: str = "", interrupts: int = 1) -> Shown:
        """Run a cell; press the stop button once `interrupt_at` was printed, and again at each further output."""
        shown = Shown()
        left = interrupts if interrupt_at else 0

        def on_output(message: dict[str, Any]) -> None:
            nonlocal left
            kind, content = message["msg_type"], message["content"]
            if kind == "stream":
                shown.text += content["text"]
                if left and interrupt_at in shown.text:
                    left -= 1
                    self.interrupt()
            elif kind in {"display_data", "execute_result"}:
                shown.displayed.append(content["data"])
            elif kind == "error":
                shown.error = f"{content['ename']}: {content['evalue']}"
                shown.traceback = "\n".join(content["traceback"])

        reply = self.client.execute_interactive(source, output_hook=on_output, timeout=DEADLINE_S)
        shown.status = reply["content"]["status"]
        return shown
