"""The widgets in JupyterLab, in a real browser, by a person who has a keyboard and no mouse."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest
from programs import CHROMIUM, TOKEN, chromium, jupyterlab, write_notebook

websocket = pytest.importorskip("websocket", reason="needs websocket-client, to speak with the browser")
from devtools import Page  # noqa: E402

pytestmark = [
    pytest.mark.skipif(not CHROMIUM, reason="needs Chromium"),
    pytest.mark.skipif(importlib.util.find_spec("jupyterlab") is None, reason="needs JupyterLab"),
]
CELLS = {
    "setup": '''
from labsupport import Lab
from labsupport.net.capture import Capture
from labsupport.views import choose_route, step_frames
lab = Lab(name="browser")
lab.run("""set -e
for n in red blue; do ip netns add $n; ip netns exec $n sysctl -qw net.ipv6.conf.all.disable_ipv6=1; done
ip link add red0 netns red address 02:00:00:00:00:01 type veth peer name blue0 netns blue address 02:00:00:00:00:02
ip -n red address add 10.0.0.1/24 dev red0; ip -n red link set red0 up
ip -n blue address add 10.0.0.2/24 dev blue0; ip -n blue link set blue0 up
ip -n red route add default via 10.0.0.254
ip -n red route add 10.0.1.0/24 via 10.0.0.253
""", echo=False).check()
with Capture(lab) as capture:
    lab.run("ping -c 1 -W 3 10.0.0.2", namespace="red", echo=False).check()
''',
    "choose": 'choose_route(lab, "red", "192.0.2.1")',
    "step": "step_frames(capture)",
}
READY = """document.querySelector('.jp-KernelName')?.textContent.includes('ipykernel')
    && document.querySelector('.jp-Notebook-ExecutionIndicator')?.dataset.status === 'idle'
    && document.activeElement.classList.contains('jp-Cell')"""
FOCUSED = """(() => { const one = document.activeElement;
    return one.getAttribute('role') ?? one.labels?.[0]?.textContent ?? one.textContent.trim() })()"""
TOLD = "[...document.querySelectorAll('.labsupport-{} [aria-live=polite]')].map(one => one.innerText).join(' ')"
ROWS = """[...document.querySelectorAll('.labsupport-{} tbody tr')]
    .map(row => [...row.cells].map(cell => cell.innerText.trim()).join(' | '))"""
ACTIVE_CELL = "[...document.querySelectorAll('.jp-Cell')].findIndex(one => one.classList.contains('jp-mod-active'))"
MOST_TABS = 25


@pytest.fixture
def notebook(tmp_path: Path) -> Iterator[Page]:
    """The notebook in JupyterLab, run cell by cell with the keyboard."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    write_notebook(folder / "widgets.ipynb", CELLS)
    with jupyterlab(tmp_path, folder) as url, chromium() as devtools, \
            Page(devtools, f"{url}lab/tree/widgets.ipynb?token={TOKEN}") as page:
        page.wait(READY, "a notebook with a kernel that is idle", 30)
        for chord in ("Shift+Enter", "Shift+Enter", "Control+Enter"):
            page.press(chord)
        page.wait("document.querySelectorAll('.labsupport-steps').length", f"the widgets of {folder}", 30)
        yield page


def tab_to(page: Page, name: str, chord: str = "Tab") -> None:
    """Press Tab until something of that name has the focus."""
    seen = []
    for _ in range(MOST_TABS):
        page.press(chord)
        seen.append(page.js(FOCUSED))
        if seen[-1] == name:
            return
    raise AssertionError(f"{chord} does not lead to {name}, but to {seen}")


def wait_until_told(page: Page, widget: str, words: str) -> None:
    page.wait(f"{TOLD.format(widget)}.includes({words!r})", f"{widget} to tell {words!r}")


def test_both_widgets_work_with_the_keyboard_alone(notebook: Page) -> None:
    notebook.press("ArrowUp")
    choose_a_route(notebook)
    step_through_a_ping(notebook)
    names_for_screen_readers(notebook)


def choose_a_route(page: Page) -> None:
    wait_until_told(page, "routes", "192.0.2.1: the route 0.0.0.0/0 wins")
    tab_to(page, "Destination")
    page.press("Control+a")
    page.type("10.0.1.77")
    page.press("Enter")
    wait_until_told(page, "routes", "10.0.1.77: the route 10.0.1.0/24 wins")
    wait_until_told(page, "routes", "longest match: 24 bits beat 0")
    wait_until_told(page, "routes", "The kernel says the same: via 10.0.0.253 dev red0")
    rows = page.js(ROWS.format("routes"))
    assert rows[0].startswith("destination | 00001010 00000000 00000001 01001101")
    assert [row.split(" | ")[2] for row in rows[1:]] == [
        "✓ no bits to match, fewer than 24", "✗ bit 24 differs", "▶ wins: all 24 bits match"]
    assert page.js("document.querySelectorAll('.labsupport-routes .bits b').length") == 1
    assert page.js("getComputedStyle(document.querySelector('.bits u')).textDecorationLine") == "underline"

    page.press("Control+a")
    page.type("10.0.1.777")
    page.press("Enter")
    wait_until_told(page, "notice", "10.0.1.777 is no IPv4 address")
    assert page.js("document.activeElement.value") == "10.0.1.777"
    assert "10.0.1.77: the route 10.0.1.0/24 wins" in page.js(TOLD.format("routes"))

    for name, key, result in (("Previous edge", "Space", "10.0.1.0: the route 10.0.1.0/24 wins"),
                              ("Next edge", "Enter", "10.0.1.255: the route 10.0.1.0/24 wins"),
                              ("Read again", "Space", "10.0.1.255: the route 10.0.1.0/24 wins")):
        page.press("Tab")
        assert page.js(FOCUSED) == name
        page.press(key)
        wait_until_told(page, "routes", result)
        assert page.js(FOCUSED) == name, "the focus stays, to press again"
    assert page.js(TOLD.format("notice")) == ""


def step_through_a_ping(page: Page) -> None:
    wait_until_told(page, "steps", "Step 0 of 4: before the first frame")
    tab_to(page, "First")
    active = page.js(ACTIVE_CELL)
    tab_to(page, "Forward")
    page.press("Space")
    wait_until_told(page, "steps", "from red:red0 through the cable to blue:blue0\nARP who has 10.0.0.2? tell 10.0.0.1")
    assert page.js(ROWS.format("steps")) == ["empty |  | ", "10.0.0.1 | 02:00:00:00:00:01 STALE | + new"]
    page.press("Enter")
    wait_until_told(page, "steps", "red: ARP table of red0, new: 10.0.0.2 02:00:00:00:00:02 REACHABLE")
    assert page.js(ROWS.format("steps")) == ["10.0.0.2 | 02:00:00:00:00:02 REACHABLE | + new",
                                             "10.0.0.1 | 02:00:00:00:00:01 STALE | "]
    assert page.js("document.querySelector('.labsupport-steps svg path.cable-up').getBoundingClientRect().width") > 40

    tab_to(page, "slider")
    for key, number in (("ArrowRight", 3), ("ArrowUp", 4), ("ArrowLeft", 3), ("ArrowDown", 2), ("End", 4), ("Home", 0)):
        page.press(key)
        wait_until_told(page, "steps", f"Step {number} of 4")
    assert page.js(ACTIVE_CELL) == active, "the arrows moved the slider, and not the notebook"
    tab_to(page, "Last", "Shift+Tab")
    page.press("Space")
    wait_until_told(page, "steps", "Step 4 of 4")
    assert page.js("document.querySelector('[role=slider]').getAttribute('aria-valuetext')") == "4"
    tab_to(page, "Back", "Shift+Tab")
    page.press("Space")
    wait_until_told(page, "steps", "Step 3 of 4")


def names_for_screen_readers(page: Page) -> None:
    nodes = [(node["role"]["value"], node.get("name", {}).get("value", ""))
             for node in page.call("Accessibility.getFullAXTree")["nodes"] if not node["ignored"]]
    for expected in (("textbox", "Destination"), ("button", "Previous edge"), ("button", "Next edge"),
                     ("button", "Read again"), ("button", "First"), ("button", "Back"), ("button", "Forward"),
                     ("button", "Last"), ("caption", ""), ("rowheader", "10.0.0.2"), ("columnheader", "Result")):
        assert expected in nodes
    assert any(role == "image" and name.startswith("Step 3 of 4: from red:red0") for role, name in nodes)
    assert len([role for role, _ in nodes if role == "status"]) >= 2
