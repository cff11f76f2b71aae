"""The one lab of a notebook."""

from __future__ import annotations

import os

from IPython.core.getipython import get_ipython

from labsupport.errors import LessonError
from labsupport.sandbox import Lab

JOIN_VARIABLE = "LABSUPPORT_JOIN"
"""While a notebook is graded: address and token of the lab that the grader made, so that the grader can trust it."""


class _Session:
    """Which lab the magics of this kernel act on."""

    lab: Lab | None = None


def open_lab(name: str = "lab") -> Lab:
    """Give this notebook a fresh private Linux, and the magics `%%lab` and `%%ns` that run commands in it.

    A lab that an earlier run of the cell had opened is closed first, so running a notebook again starts from nothing.

    Args:
        name: how the lab is called in messages and by `labsupport shell`.

    Raises:
        LabUnavailable: this machine cannot run a lab; `labsupport doctor` says why.

    Effects and privileges: see `labsupport.Lab`.
    """
    if _Session.lab is not None:
        _Session.lab.close()
        _Session.lab = None
    joining = os.environ.get(JOIN_VARIABLE, "")
    if joining:
        address, _, token = joining.partition(" ")
        lab = Lab.join(address, token, name)
    else:
        lab = Lab(name)
    _Session.lab = lab
    shell = get_ipython()
    if shell is not None:
        from labsupport.lesson.magics import register  # noqa: PLC0415  (only where there is IPython to register with)

        register(shell)
    return lab


def current_lab() -> Lab:
    """Return the lab that `open_lab` opened last.

    Raises:
        LessonError: there is none, or it has ended.
    """
    lab = _Session.lab
    if lab is None or lab.closed:
        raise LessonError(
            "this notebook has no lab" if lab is None else "this notebook's lab has ended",
            where="this notebook's kernel",
            expected="a lab opened by an earlier cell",
            next_step="run the notebook's first code cell: lab = open_lab()",
        )
    return lab
