"""The stepper must tell the life of a frame as it was: where it is at each step, and what it changed in which table."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from controls import announced, assert_accessible, controls, page, table, words
from svg_geometry import SVG

from labsupport import Lab
from labsupport.errors import LessonError
from labsupport.net import Endpoint, Frame
from labsupport.net.capture import Capture
from labsupport.net.changes import Key, TableChange
from labsupport.views import draw_frames, step_frames
from labsupport.views.frame_stepper import FrameStepper

RED, BLUE = "02:00:00:00:00:01", "02:00:00:00:00:02"
FDB, ARP_OF_RED, ARP_OF_BLUE = "sw: FDB of br0", "red: ARP table of red0", "blue: ARP table of blue0"
LAN = """
set -e
quiet() { ip netns exec $1 sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1; }
ip netns add sw; quiet sw
ip -n sw link add br0 address 02:00:00:00:ff:00 type bridge mcast_snooping 0
ip -n sw link set br0 up
i=0
for n in red blue green; do
    i=$((i+1)); ip netns add $n; quiet $n
    ip link add to-$n netns sw address 02:00:00:00:ff:0$i type veth peer name ${n}0 address 02:00:00:00:00:0$i netns $n
    ip -n sw link set to-$n master br0 up
    ip -n $n link set ${n}0 up; ip -n $n address add 10.0.0.$i/24 dev ${n}0
done
# The ports start to forward when the bridge has heard of their carrier.
until [ $(bridge -n sw link show | grep -c "state forwarding") = 3 ]; do :; done
"""
CABLES = ("red", "blue", "green", "sw:to-red", "sw:to-blue", "sw:to-green")
PING = "ip netns exec red ping -c 1 -W 3 10.0.0.2"
NOTHING = ["empty", "", ""]


def capture_of(lab: Lab, script: str, setup: str = LAN, places: tuple[str, ...] = CABLES) -> Capture:
    """Capture while a script runs in the lab: at all ends of cables, if nothing else is said."""
    lab.run(setup, echo=False, timeout_s=20).check()
    with Capture(lab, *places) as capture:
        lab.run("set -e\n" + script, echo=False).check()
    return capture


def step_of(stepper: FrameStepper, words_of_it: str) -> int:
    """Go through all steps from the first one; return the first that a screen reader tells so."""
    controls(stepper)["First"].click()
    while words_of_it not in announced(stepper):
        before = stepper.step
        controls(stepper)["Forward"].click()
        assert stepper.step == before + 1, f"no step says {words_of_it!r}"
    return stepper.step


def test_each_table_changes_at_the_step_whose_frame_teaches_it(lab):
    stepper = step_frames(capture_of(lab, PING))
    assert "before the first frame" in announced(stepper)
    for caption in (FDB, ARP_OF_RED, ARP_OF_BLUE):
        assert table(stepper, caption) == [NOTHING]

    assert step_of(stepper, "from red:red0 through the cable to sw:to-red") == 1
    assert f"{FDB}, new: {RED} behind to-red" in announced(stepper)
    assert table(stepper, FDB) == [[RED, "to-red", "+ new"]]
    assert table(stepper, ARP_OF_RED) == table(stepper, ARP_OF_BLUE) == [NOTHING]

    step_of(stepper, "through the cable to blue:blue0 ARP who has 10.0.0.2? tell 10.0.0.1")
    assert table(stepper, FDB) == [[RED, "to-red", ""]]
    assert table(stepper, ARP_OF_BLUE) == [["10.0.0.1", f"{RED} STALE", "+ new"]]

    step_of(stepper, f"from blue:blue0 through the cable to sw:to-blue ARP 10.0.0.2 is at {BLUE}")
    assert table(stepper, FDB) == [[RED, "to-red", ""], [BLUE, "to-blue", "+ new"]]

    step_of(stepper, f"through the cable to red:red0 ARP 10.0.0.2 is at {BLUE}")
    assert table(stepper, ARP_OF_RED) == [["10.0.0.2", f"{BLUE} REACHABLE", "+ new"]]

    controls(stepper)["Last"].click()
    assert "ICMP echo reply seq 1, ttl 64" in announced(stepper)
    assert all(mark == "" for caption in (FDB, ARP_OF_RED, ARP_OF_BLUE) for *_, mark in table(stepper, caption))


def test_in_the_end_the_tables_are_those_of_the_kernel(lab):
    stepper = step_frames(capture_of(lab, f"{PING}; ip netns exec green ping -c 1 -W 3 10.0.0.1"))
    controls(stepper)["Last"].click()
    fdb = json.loads(lab.observe(["bridge", "-json", "fdb", "show", "br", "br0"], namespace="sw").check().stdout)
    learned = sorted([one["mac"], one["ifname"], ""] for one in fdb if one.get("state") != "permanent")
    assert table(stepper, FDB) == learned
    for name in ("red", "blue", "green"):
        known = json.loads(lab.observe(["ip", "-json", "neighbour"], namespace=name).check().stdout)
        # The kernel does not announce DELAY (STALE, and in use again).
        states = {one["dst"]: f"{one['lladdr']} {one['state'][0]}".replace("DELAY", "STALE") for one in known}
        assert [row[:2] for row in table(stepper, f"{name}: ARP table of {name}0")] == sorted(map(list, states.items()))


def test_steps_are_numbered_as_the_arrows_of_draw_frames(lab):
    capture = capture_of(lab, PING, places=())  # at the bridge itself as well, which has no cable
    stepper = step_frames(capture)
    arrows = [line for line in draw_frames(capture).text.splitlines() if re.match(r"\d+\. ", line)]
    assert any("sw:br0 in" in line for line in arrows)
    for line in arrows:
        controls(stepper)["Forward"].click()
        number, way, says = re.fullmatch(r"(\d+)\. (\S+(?: > \S+| in| out))(?:, the same frame)?: (.*)", line).groups()
        said = announced(stepper)
        assert f"Step {number} of {len(arrows)}: " in said
        places = way.split(" > ") if " > " in way else [f"{way.rpartition(' ')[2]} at {way.rpartition(' ')[0]},"]
        assert all(place in said for place in places)
        assert says in said
        assert ("the same frame as in step" in said) == ("the same frame" in line)


def test_the_picture_points_from_where_the_frame_is_to_where_it_goes(lab):
    stepper = step_frames(capture_of(lab, PING))
    for way in ("red:red0 sw:to-red", "sw:to-blue blue:blue0", "blue:blue0 sw:to-blue", "sw:to-red red:red0"):
        start, end = (Endpoint(*one.split(":")) for one in way.split())
        step_of(stepper, f"from {start.namespace}:{start.link} through the cable to {end.namespace}:{end.link}")
        lanes, arrow, labels = read_picture(stepper)
        assert [lanes[x] for x in arrow] == [start.namespace, end.namespace]
        assert sorted(labels) == sorted([start.link, end.link])
    stepper.step = 0
    assert read_picture(stepper)[1:] == (None, [])


def read_picture(stepper: FrameStepper) -> tuple[dict[float, str], tuple[float, float] | None, list[str]]:
    """Return which namespace stands where, from where to where the arrow points, and what is written at it."""
    (svg,) = page(stepper).iter(f"{SVG}svg")
    boxes = {float(one.get("x")) + float(one.get("width")) / 2: one for one in svg.iter(f"{SVG}rect")}
    names = [one for one in svg.iter(f"{SVG}text") if one.get("class") == "name"]
    lanes = {}
    for x, box in boxes.items():
        (name,) = [one.text for one in names
                   if float(box.get("x")) < float(one.get("x")) < float(box.get("x")) + float(box.get("width"))]
        lanes[round(x, 1)] = name
    paths = {one.get("class"): one.get("d") for one in svg.iter(f"{SVG}path")}
    labels = [one.text for one in svg.iter(f"{SVG}text") if one.get("class") == "faint"]
    if "cable cable-up" not in paths:
        return lanes, None, labels
    start = float(re.match(r"M(\S+) ", paths["cable cable-up"])[1])
    tip = float(re.match(r"M(\S+) ", paths["port port-up"])[1])
    nearest = [min(lanes, key=lambda lane, x=x: abs(lane - x)) for x in (start, tip)]
    assert all(abs(lane - x) < 2 for lane, x in zip(nearest, (start, tip), strict=True))
    return lanes, tuple(nearest), labels


def test_all_controls_lead_to_the_same_steps(lab):
    stepper = step_frames(capture_of(lab, PING))
    assert list(controls(stepper)) == ["First", "Back", "Forward", "Last", "Step"]
    first, back, forward, last, slider = controls(stepper).values()
    texts = [stepper.text]
    for number in range(1, slider.max + 1):
        forward.click()
        assert (stepper.step, slider.value) == (number, number)
        texts.append(stepper.text)
    assert len(set(texts)) == len(texts) == slider.max + 1
    forward.click()
    assert announced(stepper).startswith("✗ This is the last step. Step")
    assert stepper.text == texts[-1]
    for number in range(slider.max - 1, -1, -1):
        back.click()
        assert stepper.text == texts[number]
        assert "This is" not in announced(stepper)
    back.click()
    assert announced(stepper).startswith("✗ This is the first step. Step 0")
    last.click()
    assert stepper.text == texts[-1]
    slider.value = 3
    assert stepper.text == texts[3]
    first.click()
    assert (stepper.step, slider.value, stepper.text) == (0, 0, texts[0])
    stepper.step = 2
    assert slider.value == 2
    for number in (-1, len(texts)):
        with pytest.raises(LessonError, match=f"0 to {len(texts) - 1}"):
            stepper.step = number
    assert stepper.text == texts[2]


def test_what_no_frame_did_is_told_as_such(lab):
    script = f"{PING}; ip -n red neighbour del 10.0.0.2 dev red0; bridge -n sw fdb del {RED} dev to-red master"
    stepper = step_frames(capture_of(lab, script))
    controls(stepper)["Last"].click()
    said = announced(stepper)
    assert f"{ARP_OF_RED}, gone: 10.0.0.2 FAILED (meanwhile: no frame did this)" in said
    assert f"{FDB}, gone: {RED} behind to-red (meanwhile: no frame did this)" in said
    assert table(stepper, FDB) == [[RED, "to-red", "- gone"], [BLUE, "to-blue", ""]]
    assert table(stepper, ARP_OF_RED) == [["10.0.0.2", f"{BLUE} REACHABLE", "- gone"]]


def test_an_address_that_moves_to_another_port_is_marked_as_changed(lab):
    script = f"ip -n green link set green0 address {RED}; ip netns exec green ping -c 1 -W 3 10.0.0.2"
    stepper = step_frames(capture_of(lab, script, LAN + PING))
    assert table(stepper, FDB)[0] == [RED, "to-red", ""]
    step_of(stepper, "from green:green0 through the cable to sw:to-green")
    assert table(stepper, FDB)[0] == [RED, "to-green", "~ changed"]
    assert f"{FDB}, changed: {RED} behind to-red, now behind to-green" in announced(stepper)


def test_frames_that_come_later_are_not_in_it(lab):
    lab.run(LAN, echo=False).check()
    with Capture(lab, *CABLES) as capture:
        lab.run(PING, echo=False).check()
        stepper = step_frames(capture)
        steps = controls(stepper)["Step"].max
        lab.run(PING, echo=False).check()
        assert len(capture.frames) > steps
    assert controls(stepper)["Step"].max == steps
    controls(stepper)["Last"].click()
    assert f"Step {steps} of {steps}" in announced(stepper)


def test_one_experiment_gives_one_text(namespace_ids: Callable[[Lab], dict[str, str]]):
    """What nbval compares: everything but the view, whose id is another one each time."""
    texts = []
    for _ in range(2):
        with Lab() as lab:
            namespace_ids(lab)
            stepper = step_frames(capture_of(lab, PING))
            texts.append([stepper.text, *(go(stepper, number) for number in range(controls(stepper)["Step"].max + 1))])
            bundle = stepper._repr_mimebundle_()
            assert bundle.pop("application/vnd.jupyter.widget-view+json")["model_id"]
            assert bundle == {"text/plain": str(stepper)}
    assert texts[0] == texts[1]


def go(stepper: FrameStepper, number: int) -> str:
    stepper.step = number
    return stepper.text


def test_nothing_captured_is_told(lab):
    stepper = step_frames(capture_of(lab, "true"))
    assert announced(stepper) == stepper.text == "No frame was captured"
    assert controls(stepper)["Step"].disabled
    for name in ("First", "Back", "Forward", "Last"):
        controls(stepper)[name].click()
        assert stepper.step == 0


def test_it_can_be_used_without_sight_and_without_a_mouse(lab):
    stepper = step_frames(capture_of(lab, PING))
    assert_accessible(stepper)
    controls(stepper)["Back"].click()
    assert_accessible(stepper)
    step_of(stepper, "new")
    assert_accessible(stepper)


@dataclass
class Recording:
    """What a capture has, as plain values."""

    frames: tuple[Frame, ...] = ()
    changes: tuple[TableChange, ...] = ()
    peers: dict[Endpoint, Endpoint] = field(default_factory=dict)
    tables_before: dict[Key, str] = field(default_factory=dict)


ODD = ('<&"x', "a]]>b", "\x1b[31m", "\N{RIGHT-TO-LEFT OVERRIDE}x", "</style><b>", "x" * 60, "")
HERE, THERE = Endpoint("red", "red0"), Endpoint("sw", "to-red")


def test_a_frame_that_does_not_come_out_of_the_cable_is_lost():
    arrived = Frame(1, THERE, "in", b"\xff" * 20, 20)
    sent = Frame(2, HERE, "out", b"\xfe" * 20, 20)
    stepper = step_frames(Recording((arrived, sent), (), {HERE: THERE, THERE: HERE}))
    controls(stepper)["Last"].click()
    assert "to sw:to-red, where it does not come out: lost" in announced(stepper)
    (svg,) = page(stepper).iter(f"{SVG}svg")
    assert {"cable cable-down", "port port-down"} <= {one.get("class") for one in svg.iter(f"{SVG}path")}
    assert "lost" in stepper.text


def test_no_name_frame_or_entry_can_break_the_page():
    choose = random.Random(4)  # noqa: S311
    ends = [Endpoint(name, link) for name in ODD for link in ODD]
    peers = dict(zip(ends, reversed(ends), strict=True))
    sizes = [choose.randrange(90) for _ in range(60)]
    frames = tuple(Frame(number, choose.choice(ends), choose.choice(["in", "out"]), choose.randbytes(size), 90)
                   for number, size in enumerate(sizes))
    changes = tuple(TableChange(number, choose.choice(ODD), choose.choice(["fdb", "neighbour"]), choose.choice(ODD),
                                choose.choice(ODD), choose.choice(ODD), choose.choice(ODD)) for number in range(60))
    stepper = step_frames(Recording(frames, changes, peers, {(ODD[0], "fdb", ODD[1], ODD[2]): ODD[3]}))
    for number in range(controls(stepper)["Step"].max + 1):
        stepper.step = number
        root = page(stepper)
        assert {one.tag.removeprefix(SVG) for one in root.iter()} <= {
            "page", "div", "style", "p", "b", "br", "svg", "title", "desc", "g", "path", "rect", "text", "circle", "dl",
            "dt", "dd", "span", "table", "caption", "thead", "tbody", "tr", "th", "td"}
        assert len(list(root.iter("b"))) == 1
        assert "".join(stepper.text.splitlines()).isprintable()
        assert words(root).isprintable()
