"""Operates a widget without a browser, and reads what it shows."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import Any

from labsupport.views.interactive import Interactive


def controls(shown: Interactive) -> dict[str, Any]:
    """Return the controls by what is written on them, in the order of the Tab key."""
    row, _ = shown._box.children
    return {one.description: one for one in row.children}


def page(shown: Interactive) -> ET.Element:
    """Return the page, which must be well-formed: then no text can have become an element."""
    _, result = shown._box.children
    return ET.fromstring(f"<page>{result.value}</page>")  # noqa: S314  (our own)


def words(element: ET.Element) -> str:
    """Return the text of an element, as a reader sees it."""
    for style in element.iter("style"):
        style.text = ""
    for line_break in element.iter("br"):
        line_break.text = " "
    return " ".join("".join(element.itertext()).split())


def announced(shown: Interactive) -> str:
    """Return what a screen reader tells after a change."""
    return " ".join(words(part) for part in page(shown).iter("div") if part.get("aria-live") == "polite")


def table(shown: Interactive, caption: str) -> list[list[str]]:
    """Return the rows of the table with this caption, without its head."""
    found = next(one for one in page(shown).iter("table") if words(one.find("caption")) == caption)
    return [[words(cell) for cell in row] for row in found.find("tbody")]


def assert_accessible(shown: Interactive) -> None:
    """Every control says what it is, every table and picture has a name, and colours come from the theme."""
    for name, control in controls(shown).items():
        assert name
        assert control.tabbable is not False
        assert hasattr(control, "value") or control.tooltip, f"{name}: a button says more in its tooltip"
    root = page(shown)
    assert announced(shown)
    for one in root.iter("table"):
        assert words(one.find("caption"))
        assert all(head.get("scope") == "col" for head in one.find("thead").iter("th"))
        assert all(row[0].tag == "th" and row[0].get("scope") == "row" for row in one.find("tbody"))
    for one in root.iter("{http://www.w3.org/2000/svg}svg"):
        assert one.get("role") == "img"
        assert one.get("aria-labelledby")
    _, result = shown._box.children
    on_screen = re.sub(r"(?s)@media print.*?</style>", "", result.value)
    bare = [rule for rule in re.findall(r"(?<![\w-])(?:color|background|stroke|fill|border-left):[^;}]*", on_screen)
            if "#" in re.sub(r"var\([^()]*(\([^()]*\)[^()]*)?\)+", "", rule)]
    assert bare == [], "fixed colours cannot follow the dark theme"
