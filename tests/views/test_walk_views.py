"""The table, the picture and the widget of a walk must tell its steps: all of them, in order, and nothing else."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from itertools import pairwise

import pytest
from controls import announced, assert_accessible, controls, page, table, words
from svg_geometry import SVG, elements, texts
from walk_pictures import MadeUp, assert_readable, drawn, lanes
from walk_worlds import CONNECT, python, serve, translated

from labsupport import Lab
from labsupport.errors import LessonError
from labsupport.net import Endpoint, Walk, WalkStep
from labsupport.net.walk_text import KIND_WORDS
from labsupport.views import draw_walk, step_walk, walk_table

SERVER = "203.0.113.80"
SHAPE_OF = {"snat": "nat", "dnat": "nat", "dropped": "end", "lost": "end"}


@pytest.fixture(scope="module")
def walks() -> dict[str, Walk]:
    """One of TCP through NAT, one echo, and one that a rule drops, in a plain lab."""
    made: dict[str, Walk] = {}
    with Lab(name="walks") as lab:
        translated().build(lab)
        serve(lab, "server")
        with Walk(lab, "red", to=SERVER, port=80) as made["tcp"]:
            python(lab, "red", CONNECT, SERVER, "80")
        with Walk(lab, "red", to=SERVER, protocol="icmp") as made["icmp"]:
            lab.run(["ping", "-c1", SERVER], namespace="red", echo=False).check()
        lab.run("nft add table ip f; nft add chain ip f c '{ type filter hook forward priority 0; }'; "
                "nft add rule ip f c tcp dport 80 drop", namespace="gw", echo=False).check()
        with Walk(lab, "red", to=SERVER, port=80) as made["dropped"]:
            lab.run(["curl", "-s", "--max-time", "0.3", f"http://{SERVER}"], namespace="red", echo=False)
    return made


@pytest.fixture(params=["tcp", "icmp", "dropped"])
def walk(walks: dict[str, Walk], request: pytest.FixtureRequest) -> Walk:
    return walks[request.param]


def place(step: WalkStep) -> str:
    return f"{step.namespace}:{step.link}" if step.kind in ("out", "in") else step.namespace


def test_printed_it_tells_every_step(walk: Walk) -> None:
    lines = str(walk).splitlines()
    ways = [line for line in lines[1:] if line.startswith(("There", "Back"))]
    assert ways[0] == f"There, the request: {walk.flow}, ttl 64"
    assert len(ways) == len({step.way for step in walk.steps})
    told = [line for line in lines[1:] if line not in ways]
    assert told == [f"{number:3}. {place(step)} {KIND_WORDS[step.kind]}: {step.text}"
                    for number, step in enumerate(walk.steps, 1)]
    assert ("there and back" in lines[0]) == walk.answered


def test_the_table_tells_every_step_in_html_and_in_text(walk: Walk) -> None:
    shown = walk_table(walk)
    root = ET.fromstring(shown._repr_html_())  # noqa: S314  (our own text)
    html = [["".join(cell.itertext()) for cell in row] for row in root.iter("tr")]
    lines = str(shown).splitlines()
    assert [re.split(r"  +", line.strip()) for line in lines[1:]] == html
    assert html[0] == ["no.", "way", "where", "step", "packet then", "ttl", "what"]
    for number, (row, step) in enumerate(zip(html[1:], walk.steps, strict=True), 1):
        assert row[:4] == [str(number), step.way, place(step), KIND_WORDS[step.kind]]
        assert row[4].replace("*", "") == str(step.flow)
        assert row[5].replace("*", "") == str(step.ttl)
        assert row[6] == (step.text if step.frame is None else step.text.replace(f" {step.flow}", ""))
    assert len(lines) == len(walk.steps) + 2


def test_what_a_step_has_changed_is_marked_in_the_table(walk: Walk) -> None:
    rows = walk_table(walk).rows
    for row, (before, step) in zip(rows[1:], pairwise(walk.steps), strict=True):
        if before.way == step.way:
            assert ("*" in row[5]) == (before.ttl != step.ttl)
            assert ("*" in row[4]) == (before.flow != step.flow)
        marked = [word[1:] for word in row[4].split() if word.startswith("*")]
        assert (step.kind in ("snat", "dnat")) == bool(marked)
        assert all(end in str(step.flow) and end not in str(step.before) for end in marked)
    bold = [cell.text for cell in ET.fromstring(walk_table(walk)._repr_html_()).iter("b")]  # noqa: S314
    assert bold == [word for row in rows for word in (*row[4].split(), row[5]) if word.startswith("*")]


def expected(walk: Walk) -> list[tuple[str, str, str]]:
    rows, steps = [], list(enumerate(walk.steps, 1))
    while steps:
        number, step = steps.pop(0)
        if step.kind == "out" and steps and steps[0][1].kind == "in":
            rows.append((f"{number}-{number + 1}", f"{step.namespace} {steps.pop(0)[1].namespace}", "cable"))
        else:
            rows.append((str(number), step.namespace, SHAPE_OF.get(step.kind, step.kind)))
    return rows


def test_the_picture_has_a_mark_for_each_step_in_the_lane_of_its_namespace(walk: Walk) -> None:
    picture = draw_walk(walk)
    assert drawn(picture) == expected(walk)
    names = list(dict.fromkeys(step.namespace for step in walk.steps))
    ways = len({step.way for step in walk.steps})
    assert [name for _, name in lanes(picture)] == names * ways
    assert picture.text == str(walk)
    assert picture.title == str(walk).splitlines()[0]
    root = ET.fromstring(picture.svg)  # noqa: S314  (our own text)
    assert root.get("role") == "img"
    assert root.find(f"{SVG}desc").text == str(walk)


def test_new_addresses_stand_in_the_picture(walks: dict[str, Walk]) -> None:
    said = [word.what for word in texts(draw_walk(walks["tcp"]))]
    for step in walks["tcp"].steps:
        if step.kind in ("snat", "dnat"):
            old, new = re.match(r"\w+ (\S+) becomes (\S+)", step.text).groups()
            assert f"{old} →" in said
            assert new in said


def test_the_picture_is_readable_and_fits_a_notebook(walk: Walk) -> None:
    picture = draw_walk(walk)
    assert_readable(picture)
    assert picture.width < 1050


def test_what_is_dropped_ends_with_a_cross_and_its_rule(walks: dict[str, Walk]) -> None:
    picture = draw_walk(walks["dropped"])
    assert drawn(picture)[-1] == (str(len(walks["dropped"].steps)), "gw", "end")
    assert "dropped in ip f c" in [word.what for word in texts(picture)]
    assert "no answer arrives at red" in picture.title


@pytest.mark.parametrize("name", ["", "a", "web-5d8f7c9b6-abcde", "x" * 63, "a-" * 31, '<&"x', "\x1b[31m\u202e"])
def test_any_name_stays_in_its_lane(walks: dict[str, Walk], name: str) -> None:
    steps = tuple(replace(step, namespace=name if step.namespace == "gw" else step.namespace,
                          link="x" * 15 if step.namespace == "gw" and step.link else step.link)
                  for step in walks["tcp"].steps)
    made = MadeUp(steps)
    picture = draw_walk(made)
    assert_readable(picture)
    assert "".join(picture.text.splitlines()).isprintable()
    stepper = step_walk(made)
    for number in range(1, len(steps) + 1):
        stepper.step = number
        assert len(list(page(stepper).iter("b"))) == 1


def test_half_cables_where_nobody_knows_the_other_end(walks: dict[str, Walk]) -> None:
    steps = tuple(step for step in walks["tcp"].steps if step.namespace != "sw")
    picture = draw_walk(MadeUp(steps))
    assert_readable(picture)
    rows = drawn(picture)
    assert [row[1:] for row in rows[2:4]] == [("red", "cable"), ("gw", "cable")]


def test_a_lane_in_between_is_passed_behind(walks: dict[str, Walk]) -> None:
    """A cable from red to wan, past sw and gw: in their lanes the line is only hinted at."""
    steps = list(walks["tcp"].steps)
    steps[-1] = replace(steps[-1], kind="in", way="back", namespace="wan", link="far")
    steps[-2] = replace(steps[-2], kind="out", way="back", link="red1")
    picture = draw_walk(MadeUp(tuple(steps), peers={Endpoint("red", "red1"): Endpoint("wan", "far")}))
    pieces = [(element.get("class"), *map(float, m.groups())) for element, _, _ in elements(picture)
              if (m := re.fullmatch(r"M([\d.]+) ([\d.]+)H([\d.]+)", element.get("d", "")))]
    y = next(piece[2] for piece in pieces if piece[0] == "lead")
    last = [piece for piece in pieces if piece[2] == y]
    assert [kind for kind, *_ in last] == ["cable cable-up", "lead", "cable cable-up", "lead", "cable cable-up"]
    hidden = [(left, right) for kind, left, _, right in last if kind == "lead"]
    assert hidden == [(box.left, box.right) for box, name in lanes(picture) if name in ("sw", "gw")][2:]


def test_the_highlight_follows_the_step(walk: Walk) -> None:
    stepper = step_walk(walk)
    assert stepper.step == 1
    for number, step in enumerate(walk.steps, 1):
        stepper.step = number
        said = announced(stepper)
        assert f"Step {number} of {len(walk.steps)}: " in said
        assert f"at {place(step)}: {KIND_WORDS[step.kind]}" in said
        assert " ".join(step.text.split()) in said
        (svg,) = page(stepper).iter(f"{SVG}svg")
        (frame,) = [one for one in svg.iter(f"{SVG}rect") if one.get("class") == "bundle cable-up"]
        top, height = float(frame.get("y")), float(frame.get("height"))
        numbers = [one.text for one in svg.iter(f"{SVG}text")
                   if top < float(one.get("y")) < top + height and re.fullmatch(r"[\d-]+", one.text)]
        assert len(numbers) == 1
        low, _, high = numbers[0].partition("-")
        assert int(low) <= number <= int(high or low)


def test_the_widget_shows_the_headers_and_what_the_step_changed(walk: Walk) -> None:
    stepper = step_walk(walk)
    for number, step in enumerate(walk.steps, 1):
        stepper.step = number
        rows = {name: (now, mark) for name, now, mark in table(stepper, f"The {step.flow.protocol} packet after this"
                                                               " step")}
        assert rows["source address"][0] == step.flow.source
        assert rows["destination address"][0] == step.flow.destination
        assert rows["TTL"][0] == str(step.ttl)
        ports = ("identifier",) if step.flow.protocol == "icmp" else ("source port", "destination port")
        assert [rows[name][0] for name in ports] == list(map(str, (step.flow[2], step.flow[4])[:len(ports)]))
        before = walk.steps[number - 2] if number > 1 and walk.steps[number - 2].way == step.way else step
        assert rows["source address"][1] == (
            f"~ changed, was {before.flow.source}" if before.flow.source != step.flow.source else "")
        assert rows["TTL"][1] == (f"~ changed, was {before.ttl}" if before.ttl != step.ttl else "")
        for name, (now, mark) in rows.items():
            assert f"{name}: {now}" in stepper.text
            assert mark.removeprefix("~ ") in stepper.text


def test_the_widget_works_without_sight_and_without_a_mouse(walks: dict[str, Walk]) -> None:
    stepper = step_walk(walks["tcp"])
    last = len(walks["tcp"].steps)
    first, back, forward, to_last, slider = controls(stepper).values()
    assert_accessible(stepper)
    texts_of = [stepper.text]
    for number in range(2, last + 1):
        forward.click()
        assert (stepper.step, slider.value) == (number, number)
        texts_of.append(stepper.text)
    assert len(set(texts_of)) == last
    forward.click()
    assert announced(stepper).startswith("✗ This is the last step.")
    first.click()
    assert (stepper.step, stepper.text) == (1, texts_of[0])
    back.click()
    assert announced(stepper).startswith("✗ This is the first step.")
    assert_accessible(stepper)
    to_last.click()
    assert stepper.text == texts_of[-1]
    slider.value = 9
    assert "SNAT" in announced(stepper)
    assert_accessible(stepper)
    with pytest.raises(LessonError, match=f"1 to {last}"):
        stepper.step = 0
    assert words(page(stepper)).isprintable()


def test_a_walk_that_goes_on_cannot_be_shown() -> None:
    for show in (draw_walk, walk_table, step_walk):
        with pytest.raises(LessonError, match="no steps yet"):
            show(MadeUp(()))
