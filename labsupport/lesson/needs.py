"""`%%needs nodes`: the first line of a cell that cannot work with every cluster.

    %%needs nodes
    %%lab
    ip -n node1 route

With a cluster that offers them, the cell runs as if the line were not there. With another one it is skipped, and says
so. It is not an ordinary magic: those run what is below them in a cell of its own, which loses errors.
"""

from __future__ import annotations

import sys

from IPython.core.magic import Magics, cell_magic, line_magic, magics_class

from labsupport.errors import LessonError
from labsupport.lesson.session import NODES, why_skipped

_LINE = f"%%needs {NODES}"


def drop_needs(lines: list[str]) -> list[str]:
    """Take the line away, or the whole cell: an input transformer of IPython."""
    if not lines or lines[0].split() != _LINE.split():
        return lines
    return ["%skip_cell\n"] if why_skipped() else lines[1:]


@magics_class
class NeedsMagics(Magics):
    """What is left of such a cell."""

    @line_magic
    def skip_cell(self, _line: str) -> None:
        """Say why the cell is skipped."""
        sys.stdout.write(f"{why_skipped()}\n")

    @cell_magic
    def needs(self, line: str, _cell: str) -> None:
        """Refuse what `drop_needs` does not know."""
        raise LessonError(f"there is no such line as %%needs {line}".rstrip(), where="the first line of this cell",
                          expected=_LINE, next_step="correct it; nothing of this cell was run")
