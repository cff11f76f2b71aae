"""`%%lab` and `%%ns NAME`: shell lines that run in the notebook's lab, or on the machines of its cluster.

    %%lab
    ip netns add red
    ip netns list

    %%ns red --timeout 10
    ip -br addr

With a cluster, `%%lab` is the control plane's machine, `%%ns node1` a node, `%%ns client` a computer outside. With a
foreign one, `%%ns` cells are skipped; see labsupport.lesson.needs.

Each cell is a new bash, as in a script: variables and `cd` end with it, what was put in the background (`&`) goes on.
Both outputs appear in the order in which they were printed, then the exit status. Ctrl-C (or the stop button) goes to
the commands.
"""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from types import SimpleNamespace
from typing import NoReturn

from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import Magics, cell_magic, magics_class
from IPython.display import display

from labsupport.errors import CommandInterrupted, LabError, LessonError
from labsupport.lesson.needs import NeedsMagics, drop_needs
from labsupport.lesson.session import cell_command, current_lab, may_name_namespaces, why_skipped

DEFAULT_TIMEOUT_S = 60.0
MAX_SHOWN_BYTES = 1 << 20
_NAMES = re.compile(r"^\s*ip\s+netns\s+(add|attach|del\w*)\b.*$", re.MULTILINE)


class _Options(argparse.ArgumentParser):
    """Options of a magic; what is wrong with them is an error of the notebook, not the end of its kernel."""

    def error(self, message: str) -> NoReturn:
        raise LessonError(
            f"%%{self.prog}: {message}", where="the first line of this cell",
            expected=self.format_usage().replace("usage: ", "%%").strip(),
            next_step="correct the first line; the commands themselves go below it",
        )


def _parser(name: str) -> _Options:
    parser = _Options(prog=name, add_help=False, allow_abbrev=False)
    parser.add_argument("--timeout", type=float, default=DEFAULT_TIMEOUT_S, metavar="SECONDS")
    if name == "ns":
        parser.add_argument("namespace", metavar="NAME")
    return parser


class ExitStatus:
    """The last line under a cell: how its commands ended."""

    def __init__(self, status: int) -> None:
        self.status = status

    def __repr__(self) -> str:
        if self.status < 0:
            return f"ended by signal {-self.status}"
        note = ": the shell found no program of that name" if self.status == 127 else ""
        return f"exit status {self.status}{note}"

    def _repr_html_(self) -> str:
        colour = "var(--jp-ui-font-color2, #555)" if self.status == 0 else "var(--jp-error-color1, #b00020)"
        sign = "" if self.status == 0 else "✗ "
        return f'<span style="font-size:85%;color:{colour}">{sign}{self!r}</span>'


@magics_class
class LabMagics(Magics):
    """The magics; `register` adds them to a shell."""

    @cell_magic
    def lab(self, line: str, cell: str) -> None:
        """Run shell lines in the lab's first network namespace: %%lab [--timeout SECONDS]."""
        options = _parser("lab").parse_args(shlex.split(line))
        _run(cell.strip(), "", options.timeout)

    @cell_magic
    def ns(self, line: str, cell: str) -> None:
        """Run shell lines in a named network namespace, or on a node: %%ns NAME [--timeout SECONDS]."""
        options = _parser("ns").parse_args(shlex.split(line))
        skipped = why_skipped()
        if skipped:
            sys.stdout.write(f"{skipped}\n")
            return
        if not may_name_namespaces(options.namespace):
            _refuse_names(cell)
        _run(cell.strip(), options.namespace, options.timeout)


def _refuse_names(cell: str) -> None:
    """Refuse to make or delete names of namespaces inside of one, where `ip` leaves an empty file for a name.

    `ip netns exec` has a mount namespace of its own, and what `ip netns add` mounts there is seen nowhere else.
    """
    found = _NAMES.search(cell)
    if found:
        raise LessonError("a %%ns cell cannot make or delete namespaces: their names belong to the whole lab",
                          where="this cell", observed=found.group().strip(), expected="a cell that starts with %%lab",
                          next_step="move that line into a %%lab cell; nothing of this cell was run")


def _run(script: str, namespace: str, timeout_s: float) -> None:
    try:
        argv, place = cell_command(script, namespace)
        completed = current_lab().run(argv, namespace=place, timeout_s=timeout_s, merge=True,
                                      max_output_bytes=MAX_SHOWN_BYTES)
    except KeyboardInterrupt:
        raise CommandInterrupted("the commands of this cell were stopped; the lab is still running",
                                 next_step="run the cell again, or go on with the next one") from None
    display(ExitStatus(completed.exit_status))  # type: ignore[no-untyped-call]


def _complete_namespace(_shell: InteractiveShell, event: SimpleNamespace) -> list[str]:
    """Offer the names of the lab's namespaces after `%%ns `."""
    words = event.line.split()
    if len(words) > 2 or (len(words) == 2 and event.line.endswith(" ")):
        return []
    try:
        return current_lab().namespaces()
    except LabError:
        return []  # without a lab there is nothing to offer; running the cell says so


def _show_lab_error(shell: InteractiveShell, kind: type[LabError], error: LabError, _trace: object,
                    tb_offset: int | None = None) -> list[str]:  # noqa: ARG001  (IPython's signature)
    """Show what happened and what to do, without the inside of labsupport."""
    lines = [f"{kind.__name__}: {error}"]
    shell._showtraceback(kind, error, lines)
    return lines


def register(shell: InteractiveShell) -> None:
    """Add the magics, their completion and the short form of errors to an IPython shell."""
    shell.register_magics(LabMagics, NeedsMagics)
    if drop_needs not in shell.input_transformers_cleanup:
        shell.input_transformers_cleanup.insert(0, drop_needs)
    shell.set_hook("complete_command", _complete_namespace, str_key="%%ns")  # type: ignore[no-untyped-call]
    shell.set_custom_exc((LabError,), _show_lab_error)  # type: ignore[no-untyped-call]
