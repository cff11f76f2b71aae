"""Files on their way into the lab: all of them in one go, each with its mode."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping

from labsupport.sandbox import Lab

SECRET = 0o600
READABLE = 0o644


def send(lab: Lab, files: Mapping[str, bytes | str], *, secret: bool = True) -> None:
    """Write files into the lab.

    Args:
        lab: where to.
        files: absolute path and content; missing folders are made.
        secret: only root may read them.

    Raises:
        CommandFailed: one could not be written; the message names it.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.size, entry.mode = len(data), SECRET if secret else READABLE
            archive.addfile(entry, io.BytesIO(data))
    lab.run(["tar", "--extract", "--directory=/", "--no-overwrite-dir", "--no-same-owner", "--same-permissions"],
            stdin=buffer.getvalue(), echo=False).check()
