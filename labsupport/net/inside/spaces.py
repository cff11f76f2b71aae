"""Named network namespaces, exactly as ip-netns(8) keeps them: files in /run/netns that a namespace is mounted on."""

import os

from labsupport.sandbox.agent import jobs, syscalls

FOLDER = jobs.NAMESPACES.rstrip("/")


def find(name: str, first: int) -> int:
    """Return a descriptor of a namespace; "" is the lab's first one, which is open as `first`.

    Raises:
        OSError: there is none of that name.
    """
    if not name:
        return os.dup(first)
    try:
        return jobs.open_namespace(name)
    except jobs.Refused:
        raise OSError(2, f"no network namespace is called {name}") from None


def create(name: str) -> int:
    """Make a namespace, move this process into it, and return its descriptor; `share_folder` comes first, once.

    Raises:
        OSError: the name is taken, or the kernel makes no more.
    """
    path = f"{FOLDER}/{name}"
    os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0))
    try:
        syscalls.unshare(syscalls.CLONE_NEWNET)
        syscalls.bind("/proc/self/ns/net", path)
    except OSError:
        os.unlink(path)
        raise
    return syscalls.current_network()


def delete(name: str) -> None:
    """Take a namespace's name away; the kernel removes it when nothing else holds it."""
    path = f"{FOLDER}/{name}"
    try:
        syscalls.detach(path)
    except OSError as error:
        if error.errno != 22:  # EINVAL: nothing is mounted there, only the file is left
            raise
    os.unlink(path)


def share_folder() -> None:
    """Make the folder a shared mount, so that a name deleted here is deleted for every `ip netns exec` as well."""
    os.makedirs(FOLDER, exist_ok=True)
    try:
        syscalls.make_shared(FOLDER)
    except OSError as error:
        if error.errno != 22:  # EINVAL: it is no mount yet
            raise
        syscalls.bind(FOLDER, FOLDER)
        syscalls.make_shared(FOLDER)
