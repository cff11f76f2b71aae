"""The process of one cluster on the host: makes its lab, keeps everything in it running, answers requests.

    python -m labsupport.cluster.supervisor NAME SETTINGS

It has no privileges. When it ends, in whatever way, the kernel ends the lab and all that is in it.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import threading
import time
import traceback
from collections import deque
from contextlib import ExitStack
from dataclasses import asdict
from types import FrameType
from typing import Any

from labsupport.cluster import addons, control_plane, numbers
from labsupport.cluster.api import ApiClient
from labsupport.cluster.control import error_fields
from labsupport.cluster.folder import ClusterFolder, cluster_folder
from labsupport.cluster.kubeconfig import render_kubeconfig
from labsupport.cluster.limits import Limits
from labsupport.cluster.requests import RequestServer
from labsupport.cluster.settings import Settings
from labsupport.cluster.supplies import find_supplies
from labsupport.cluster.system import System, SystemPlan
from labsupport.doctor.cgroups import claim_place
from labsupport.doctor.ids import plan_id_map
from labsupport.errors import ClusterError, LabError
from labsupport.sandbox import Lab
from labsupport.sandbox.forward import Forward

PROCESSES = 30000
LOOK_S = 1.0
NOTICES = 50


class Stopped(BaseException):
    """Somebody asked the cluster to stop while it was starting."""


class Supervisor:
    """Runs one cluster from its start to its end."""

    def __init__(self, folder: ClusterFolder, settings: Settings) -> None:
        self.folder = folder
        self.settings = settings
        self.started_at = time.time()
        self.notices: deque[str] = deque(maxlen=NOTICES)
        self.stop_event = threading.Event()
        self._booting = True
        self._used_at = time.monotonic()
        self.limits: Limits
        self.lab: Lab
        self.system: System
        self.forward: Forward

    def run(self) -> None:
        """Start the cluster, serve until somebody stops it, and take everything down."""
        with ExitStack() as undo:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, self._on_signal)
            threading.Thread(target=self._watch_the_starter, name="starter", daemon=True).start()
            try:
                self._open(undo)
                self.system.boot(self.report)
                for word in self.settings.addons:
                    self.system.addons.enable(word, self.report)
            finally:
                self._booting = False  # from now on a signal finds it up, or being taken down already
            requests = RequestServer(self)
            undo.callback(requests.close)
            _tell({"result": "ready"})
            self._leave_the_starter()
            threading.Thread(target=self.system.unpack_images, name="images", daemon=True).start()
            self._stay(requests)

    def _open(self, undo: ExitStack) -> None:
        self.report("programs and images")
        for word in self.settings.addons:
            addons.check(word)
        supplies = find_supplies(self.folder.images)
        ids = plan_id_map()
        self.limits = Limits(self.folder.name, claim_place(f"labsupport-{self.folder.name}"), owner=ids.uids[0][1])
        undo.callback(self.limits.end)
        undo.callback(self.folder.lab_socket.unlink, missing_ok=True)
        with self.limits.root_of_labs():
            self.lab = Lab(f"cluster {self.folder.name}", visible=supplies.folders, hidden=self.settings.hidden,
                           process_limit=PROCESSES, socket_path=self.folder.lab_socket)
        undo.callback(self.lab.close)
        credentials = control_plane.make_credentials()
        self.forward = self.lab.forward("127.0.0.1", numbers.API_PORT)
        undo.callback(self.forward.close)
        host, port = self.forward.address
        api = ApiClient((host, port), credentials.authority.certificate, credentials.admin, self.folder.path)
        self.folder.kubeconfig.unlink(missing_ok=True)
        self.folder.kubeconfig.touch(0o600)
        undo.callback(self.folder.kubeconfig.unlink, missing_ok=True)
        self.folder.kubeconfig.write_text(render_kubeconfig(
            f"https://{host}:{port}", credentials.authority.certificate, credentials.admin, user="admin",
            cluster=f"labsupport-{self.folder.name}"))
        plan = SystemPlan(self.settings.nodes, self.settings.proxy_mode, supplies.programs, supplies.images,
                          supplies.addon_images, self.folder.logs, tuple(self.settings.registries), supplies.seccomp,
                          self.settings.pulls, one_user=ids.count == 1, controllers=self.limits.controllers)
        self.system = System(self.lab, plan, credentials, api, self.notice)

    def report(self, step: str) -> None:
        """Say what is done next, in the log and to whoever waits for the start."""
        self.log(step)
        try:
            _tell({"report": step})
        except BrokenPipeError:
            raise Stopped from None  # whoever started the cluster has gone before it was up

    def notice(self, line: str) -> None:
        """Keep what happened by itself, for `status`."""
        self.notices.append(f"{time.strftime('%H:%M:%S')} {line}")
        self.log(line)

    def log(self, line: str) -> None:
        """Write a line to the log. A disk that is full loses it, and the cluster goes on."""
        with contextlib.suppress(OSError):
            sys.stderr.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n")
            sys.stderr.flush()

    def used(self) -> None:
        """Note that somebody uses the cluster."""
        self._used_at = time.monotonic()

    def status(self) -> dict[str, Any]:
        """Return what `labsupport cluster status --json` prints."""
        host, port = self.forward.address
        ids = plan_id_map()
        return {
            "name": self.folder.name,
            "server": f"https://{host}:{port}",
            "kubeconfig": str(self.folder.kubeconfig),
            "proxy_mode": self.settings.proxy_mode,
            "registries": list(self.settings.registries),
            "addons": self.system.addons.words(),
            "uptime_s": round(time.time() - self.started_at, 1),
            "pid": os.getpid(),
            "uids": ids.count,
            "limits": list(self.limits.controllers),
            "limits_missing": self.limits.missing,
            "nodes": [{"name": node.name, "address": node.plan.address, "pod_cidr": numbers.pod_cidr(node.plan.number),
                       "running": node.running, "pid": node.pid, "restarts": node.restarts}
                      for node in self.system.nodes.values()],
            "components": [asdict(component.status()) for component in self.system.all_components()],
            "notices": list(self.notices),
            "logs": str(self.folder.logs),
        }

    def _stay(self, requests: RequestServer) -> None:
        while not self.stop_event.wait(LOOK_S):
            if self.lab.closed:
                self.notice("the cluster's lab has ended")
                return
            if requests.clients or self.forward.connections:
                self.used()
            idle_s = time.monotonic() - max(self._used_at, self.forward.last_used_s)
            if idle_s > self.settings.idle_s:
                self.notice(f"nobody used the cluster for {idle_s / 3600:.1f} hours: it stops")
                return

    def _watch_the_starter(self) -> None:
        """Stop when whoever waits for the start has gone: then the pipe to him has an error (poll(2))."""
        pipe = select.poll()
        pipe.register(1, 0)
        pipe.poll()
        if self._booting:
            os.kill(os.getpid(), signal.SIGTERM)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        if self._booting:
            self._booting = False
            raise Stopped
        self.stop_event.set()

    def _leave_the_starter(self) -> None:
        """Close the pipe to the starter; from now on the cluster does not depend on it."""
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.close(null)


def _tell(message: dict[str, Any]) -> None:
    os.write(1, json.dumps(message).encode() + b"\n")


def main(argv: list[str]) -> int:
    """Run the cluster `argv[0]` with the settings `argv[1]` (JSON)."""
    folder = cluster_folder(argv[0])
    folder.make()
    lock = folder.lock()
    if lock is None:
        _tell({"busy": "another process starts, runs or stops this cluster"})
        return 1
    folder.forget_the_dead()
    os.truncate(folder.supervisor_log, 0)
    supervisor = Supervisor(folder, Settings(**json.loads(argv[1])))
    try:
        supervisor.run()
        folder.remove()
    except (Stopped, BrokenPipeError):
        supervisor.log("stopped while it was starting; everything is undone")
    except (LabError, OSError) as error:
        return _fail(supervisor, error)
    finally:
        os.close(lock)
    return 0


def _fail(supervisor: Supervisor, error: LabError | OSError) -> int:
    if isinstance(error, OSError):
        supervisor.log(traceback.format_exc())
        error = ClusterError("the cluster's process could not go on", where=str(supervisor.folder.path),
                             observed=str(error), next_step="a full disk is the usual reason: free space there")
    supervisor.log(str(error))
    with contextlib.suppress(BrokenPipeError):  # nobody waits for the answer any more; it is in the log
        _tell({"error": error_fields(error)})
    return 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
