"""A copy of PID 1 that runs code which the client sends: the fast way to act inside the lab.

A fresh interpreter needs 15 ms; a copy of this one is there in one. It is a process of the lab as any other, root in
the lab and nothing outside. Like PID 1 it is not dumpable, so the lab's root can end it, but neither trace it nor look
into it or its pipes (ptrace(2), PTRACE_MODE_READ): what it prints is what our code has seen. For that, such code may
not import what PID 1 has not loaded yet, nor trust a path: the lab's root can mount anything over the library and
over /proc.
"""

import _signal
import marshal
import os
import sys

from labsupport.sandbox.agent.jobs import DEFAULT_SIGNALS, Job, open_pipes, refusal


class ForkedJob(Job):
    """A copy of PID 1 at work."""

    def fork(self, code: bytes) -> None:
        """Start the copy.

        Args:
            code: see labsupport.sandbox.portable.

        Raises:
            Refused: the lab has as many processes as it may have.
        """
        (stdin_read, self.stdin), (out_read, out_write), (error_read, error_write) = open_pipes(3)
        self.outputs = {out_read: b"stdout", error_read: b"stderr"}
        theirs = (stdin_read, out_write, error_write)
        # A signal for the copy waits until its actions are the default ones. It would be lost where PID 1 ignores
        # it, as all ignore SIGHUP that nohup(1) has started.
        blocked = _signal.pthread_sigmask(_signal.SIG_BLOCK, DEFAULT_SIGNALS)
        try:
            self.pid = os.fork()
        except OSError as error:
            self.close()
            raise refusal(error, [b"a copy of PID 1"]) from None
        finally:
            if self.pid or sys.exc_info()[0]:
                for fd in theirs:
                    os.close(fd)
                _signal.pthread_sigmask(_signal.SIG_SETMASK, blocked)
        if self.pid == 0:
            _become(code, theirs)
        self.set_nonblocking()


def _become(code: bytes, standard: "tuple[int, int, int]") -> None:
    """Go on as the copy. Does not return."""
    status = 1
    try:
        os.setsid()
        _signal.set_wakeup_fd(-1)
        for number in DEFAULT_SIGNALS:
            _signal.signal(number, _signal.SIG_DFL)
        _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
        for number, fd in enumerate(standard):
            os.dup2(fd, number)
        os.closerange(3, 1 << 30)
        _run(code)
        status = 0
    except BaseException as problem:
        os.write(2, f"{type(problem).__name__}: {problem}".encode()[:4000])
    finally:
        os._exit(status)


def _run(code: bytes) -> None:
    """Make the modules, and call `main` of the last one."""
    modules, arguments = marshal.loads(code)  # noqa: S302  (the client may run any code in the lab)
    for name, body in modules:
        module = sys.modules[name] = type(sys)(name)
        if body is None:
            module.__path__ = []
        else:
            exec(body, module.__dict__)  # noqa: S102
    module.main(*arguments)
