"""A whole walk as one picture: a lane for each namespace, and the way of the packet through them."""

from __future__ import annotations

from itertools import groupby

from labsupport.net.walk_text import walk_headline, walk_lines
from labsupport.views.canvas import Canvas, printable
from labsupport.views.picture import Picture
from labsupport.views.walk_lanes import MARGIN, Lanes, lay_out
from labsupport.views.walk_rows import Walked, rows_of
from labsupport.views.walk_way import draw_way

_BETWEEN_WAYS = 26.0


def draw_walk(walk: Walked) -> Picture:
    """Return a picture of everything that one connection meets, there and back.

    It makes visible in one place what tcpdump, conntrack and the rules tell in pieces. Each lane is a network
    namespace, in the order of the way; time runs downwards. The line is the way of the packet: from lane to lane
    through cables, down a lane through what a namespace does with it. Disc: a process sends it. Diamond: a route is
    chosen. Small ring: a rule of the packet filter matches. Square with D or S: destination or source is translated.
    Sheet: conntrack notes the connection, or recognises it. Target: delivered. Cross: dropped or lost. Rows with new
    addresses have a band. Numbers are those of `walk_table` and `step_walk`.

    Args:
        walk: one that has ended.

    Raises:
        LessonError: it has not.
    """
    rows = rows_of(walk)
    lanes = lay_out(rows)
    canvas, y = Canvas(), MARGIN
    for _, group in groupby(rows, key=lambda row: row.step.way):
        y = draw_way(canvas, lanes, list(group), y) + _BETWEEN_WAYS
    return _picture(walk, canvas, lanes, y - _BETWEEN_WAYS + MARGIN)


def _picture(walk: Walked, canvas: Canvas, lanes: Lanes, height: float) -> Picture:
    title = printable(walk_headline(walk.steps, answered=walk.answered, lost=walk.lost))
    text = "\n".join([title, *map(printable, walk_lines(walk.steps))])
    page = Canvas()
    page.add(canvas, 0, 0)
    return Picture(title, text, lanes.width, round(height, 1), str(page))


def draw_part(walk: Walked, now: int, most_rows: int, title: str) -> Picture:
    """Return the rows around a step, which is pointed at; the packet has not yet been where the way is faint.

    Args:
        walk: one that has ended.
        now: the number of the step.
        most_rows: how many to show.
        title: what the picture shows, one line.
    """
    rows = rows_of(walk)
    at = next(at for at, row in enumerate(rows) if now in row.numbers)
    same = [row for row in rows if row.step.way == rows[at].step.way]
    place = same.index(rows[at])
    start = max(0, min(place - most_rows // 2, len(same) - most_rows))
    lanes, canvas = lay_out(rows), Canvas()
    more = start > 0, start + most_rows < len(same)
    bottom = draw_way(canvas, lanes, same[start:start + most_rows], MARGIN, now, more)
    page = Canvas()
    page.add(canvas, 0, 0)
    return Picture(printable(title), printable(title), lanes.width, round(bottom + MARGIN, 1), str(page))
