"""Where a running cluster keeps its kubeconfig, its logs and its socket on the host: private to the user."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

from labsupport.errors import ClusterError

DEFAULT_NAME = "default"
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")


@dataclass(frozen=True)
class ClusterFolder:
    """The folder of one cluster, below /tmp/labsupport-UID.

    Not below $XDG_RUNTIME_DIR, which a shell of `su`, a cron job and a Jupyter server know by different names; and not
    in the home folder, where a path may be too long for a Unix socket (unix(7)).
    """

    path: Path

    @property
    def name(self) -> str:
        """The cluster's name."""
        return self.path.name

    @property
    def kubeconfig(self) -> Path:
        """For kubectl and every other client on this machine."""
        return self.path / "kubeconfig"

    @property
    def control_socket(self) -> Path:
        """Where the cluster's process takes requests."""
        return self.path / "control"

    @property
    def lab_socket(self) -> Path:
        """Where the cluster's lab is joined."""
        return self.path / "lab"

    @property
    def logs(self) -> Path:
        """One file per component."""
        return self.path / "logs"

    @property
    def supervisor_log(self) -> Path:
        """What the cluster's process itself has to say."""
        return self.logs / "supervisor.log"

    @property
    def images(self) -> Path:
        """Images made for this cluster alone, where the cache belongs to somebody else."""
        return self.path / "images"

    def make(self) -> None:
        """Make the folders."""
        clusters_folder()
        for folder in (self.path, self.logs):
            folder.mkdir(mode=0o700, exist_ok=True)

    def remove(self) -> None:
        """Leave nothing of a cluster that has ended well; after a failure its logs stay."""
        gone = self.path.with_name(f".{self.name}.{os.getpid()}")
        self.path.rename(gone)  # at once: the next cluster of this name may be starting in a fresh folder already
        shutil.rmtree(gone)
        with contextlib.suppress(OSError):  # other clusters have theirs there
            self.path.parent.rmdir()

    def lock(self) -> int | None:
        """Take this cluster's lock; it is held as long as the returned descriptor is open.

        Returns:
            None if another process has it, or has just removed the folder.
        """
        path = self.path / "lock"
        try:
            fd = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.stat().st_ino == os.fstat(fd).st_ino:
                return fd
        except (BlockingIOError, FileNotFoundError):
            pass
        os.close(fd)
        return None

    def forget_the_dead(self) -> None:
        """Remove the sockets of a process that was killed; only who has the lock may do so."""
        for stale in (self.control_socket, self.lab_socket):
            stale.unlink(missing_ok=True)

    def running(self) -> bool:
        """Whether the cluster's process is there, be the cluster up already or not."""
        try:
            fd = os.open(self.path / "lock", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(fd)
        return False


def clusters_folder() -> Path:
    """Return the folder of all clusters of this user, made if need be.

    Raises:
        ClusterError: somebody else owns it, or others may enter it.
    """
    path = _clusters_path()
    with contextlib.suppress(FileExistsError):  # whatever it is
        path.mkdir(mode=0o700)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise ClusterError("the folder of this user's clusters cannot be trusted", where=str(path),
                           expected="a folder of this user that nobody else may enter",
                           observed=f"{stat.filemode(found.st_mode)}, owned by uid {found.st_uid}",
                           next_step="ask its owner or an administrator to remove it")
    return path


def _clusters_path() -> Path:
    return Path("/tmp") / f"labsupport-{os.geteuid()}"  # noqa: S108  (clusters_folder looks at its owner and mode)


def cluster_folder(name: str) -> ClusterFolder:
    """Return the folder of the cluster of this name; it need not exist.

    Raises:
        ClusterError: that cannot be a name.
    """
    if not _NAME.fullmatch(name):
        raise ClusterError(f"{name!r} cannot be the name of a cluster",
                           expected="1 to 32 small letters, digits and '-', as in a DNS label",
                           next_step="choose another name")
    return ClusterFolder(_clusters_path() / name)


def running_clusters() -> list[ClusterFolder]:
    """Return the clusters of this user that run, by name."""
    if not _clusters_path().is_dir():
        return []
    folders = [ClusterFolder(path) for path in sorted(clusters_folder().iterdir()) if _NAME.fullmatch(path.name)]
    return [folder for folder in folders if folder.running()]
