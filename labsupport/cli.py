"""The command `labsupport`: doctor, shell, cluster and check.

Exit status: 0 for success, 1 for an error or a machine that cannot run labs, 2 for a wrong command line, 130 after
Ctrl-C; `labsupport shell` passes on what its shell returned.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, TextIO

from labsupport.errors import LabError

if TYPE_CHECKING:
    from labsupport.sandbox import RunningLab

_FIRST_CELL = "open a notebook in JupyterLab and run its first code cell, then try again"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (default: the process's own) and return the exit status."""
    words = sys.argv[1:] if argv is None else list(argv)
    arguments = _parser(words).parse_args(words)
    try:
        status: int = arguments.run(arguments)
        sys.stdout.flush()
    except LabError as error:
        print(f"labsupport: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader (head, less) has what it wanted. Python would complain once more when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="labsupport", description="Labs on container networking: the tools around "
                                     "the notebooks.", allow_abbrev=False)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    doctor = commands.add_parser("doctor", help="can this machine run the labs, and if not, what to do",
                                 description="Tries out what a lab needs. Exit status 0 only if labs can run here.",
                                 allow_abbrev=False)
    doctor.add_argument("--json", action="store_true", help="print one JSON object: can_run_labs, checks")
    doctor.set_defaults(run=_doctor)
    shell = commands.add_parser("shell", help="open a terminal in the lab of a running notebook",
                                description="Opens bash in a running lab. exit or Ctrl-D leaves it; the lab goes on.",
                                allow_abbrev=False)
    shell.add_argument("namespace", nargs="?", default="", metavar="NAMESPACE",
                       help="a network namespace of the lab, as `ip netns list` shows it")
    shell.add_argument("--lab", metavar="NUMBER|PID",
                       help="which lab, where several run: its number in the list, or its notebook's process id")
    shell.set_defaults(run=_shell)
    cluster = commands.add_parser("cluster", help="start, look at and stop a real Kubernetes on this machine",
                                  description="A real Kubernetes of upstream's programs in a lab of its own.",
                                  allow_abbrev=False)
    if "cluster" in words[:1]:  # only now, so that the other commands do not wait for what it imports
        from labsupport.cluster.command import add_arguments as add_cluster_arguments  # noqa: PLC0415

        add_cluster_arguments(cluster)
    check = commands.add_parser("check", help="score the exercises of one notebook", allow_abbrev=False)
    if "check" in words[:1]:  # as above
        from labsupport.grading.command import add_arguments, run  # noqa: PLC0415

        add_arguments(check)
        check.set_defaults(run=run)
    return parser


def _doctor(arguments: argparse.Namespace) -> int:
    from labsupport.doctor.diagnose import diagnose  # noqa: PLC0415

    report = diagnose()
    if arguments.json:
        print(report.as_json())
    else:
        width = min(shutil.get_terminal_size((100, 24)).columns, 120)
        colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        print(report.as_text(width=width, colour=colour, symbols=_can_print("✓✗·", sys.stdout)))
    return 0 if report.can_run_labs else 1


def _can_print(text: str, stream: TextIO) -> bool:
    try:
        text.encode(stream.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def _shell(arguments: argparse.Namespace) -> int:
    from labsupport.sandbox import Lab, find_running_labs  # noqa: PLC0415
    from labsupport.sandbox.terminal import run_in_terminal  # noqa: PLC0415

    running = _choose(find_running_labs(), arguments.lab)
    prompt = (arguments.namespace or "lab").replace("\\", "\\\\")
    # Without promptvars, since a name such as `$(reboot)` is no program to run at every prompt.
    bash = ["env", f"PS1={prompt}:\\w# ", "bash", "--norc", "+O", "promptvars", "-i"]
    lab = Lab.join(running.address, running.token, running.name)
    try:
        return run_in_terminal(lab, bash, namespace=arguments.namespace)
    finally:
        lab.close()


def _choose(labs: list[RunningLab], wanted: str | None) -> RunningLab:
    """Return the lab to join: the only one, the wanted one, or the one that the user picks from a list."""
    if not labs:
        raise LabError("no lab is running", where="this machine, among the labs that you may join",
                       expected="a notebook whose kernel runs and which has opened its lab", next_step=_FIRST_CELL)
    if wanted is not None:
        return _find(labs, wanted)
    if len(labs) == 1:
        return labs[0]
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise LabError("several labs are running, and there is nobody to ask which one", where="this machine",
                       expected="--lab NUMBER or --lab PID", observed=_table(labs),
                       next_step=f"labsupport shell --lab {labs[0].client_pid}")
    print(_table(labs))
    while True:
        try:
            answer = input(f"Which lab? [1-{len(labs)}] ")
        except EOFError:
            raise LabError("no lab was chosen", expected=f"a number from 1 to {len(labs)}",
                           observed="the end of the input", next_step="labsupport shell --lab NUMBER") from None
        try:
            return _find(labs, answer)
        except LabError as error:
            print(error.what)


def _find(labs: list[RunningLab], wanted: str) -> RunningLab:
    """Return the lab with this number in the list, or else the one of this process."""
    word = wanted.strip()
    if word.isdecimal() and 1 <= int(word) <= len(labs):
        return labs[int(word) - 1]
    found = [lab for lab in labs if str(lab.client_pid) == word]
    if len(found) == 1:
        return found[0]
    if found:
        raise LabError(f"process {word} has {len(found)} labs", expected="the number of one lab",
                       observed=_table(labs), next_step="labsupport shell --lab NUMBER")
    raise LabError(f"no lab has the number or process id {word!r}", expected=f"1 to {len(labs)}, or a process id",
                   observed=_table(labs), next_step=f"labsupport shell --lab {shlex.quote(str(labs[0].client_pid))}")


def _printable(text: str) -> str:
    """Return text without control characters: to root, these are words that other users chose."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _table(labs: list[RunningLab]) -> str:
    """Return the list of labs, a line each."""
    rows = [("#", "LAB", "NOTEBOOK", "STARTED", "PID")]
    for number, lab in enumerate(labs, 1):
        started = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(lab.started_unix_s))
        rows.append((str(number), _printable(lab.name), _printable(lab.notebook) or "-", started, str(lab.client_pid)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip()
                     for row in rows)
