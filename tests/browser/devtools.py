"""One page of a Chromium, driven as a person without a mouse would: keys go in, the DOM comes out.

Source: the Chrome DevTools Protocol, https://chromedevtools.github.io/devtools-protocol/.
"""

from __future__ import annotations

import base64
import json
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any

import websocket

from labsupport.waiting import wait_until

REPLY_WITHIN_S = 20.0
_KEYS = {"Tab": 9, "Enter": 13, "Escape": 27, "Space": 32, "End": 35, "Home": 36, "ArrowLeft": 37, "ArrowUp": 38,
         "ArrowRight": 39, "ArrowDown": 40, "PageUp": 33, "PageDown": 34}
_TYPES = {"Enter": "\r", "Space": " "}
_MODIFIERS = {"Alt": 1, "Control": 2, "Shift": 8}


class Page:
    """A tab of the browser whose DevTools listen on `devtools` ("127.0.0.1:PORT")."""

    def __init__(self, devtools: str, url: str) -> None:
        with urllib.request.urlopen(f"http://{devtools}/json/list") as reply:
            targets = json.load(reply)
        target = next(one for one in targets if one["type"] == "page")
        # Chromium takes no connection that names an origin: it must not come from a web page.
        self._socket = websocket.create_connection(target["webSocketDebuggerUrl"], timeout=REPLY_WITHIN_S,
                                                   suppress_origin=True)
        self._number = 0
        self.call("Page.enable")
        self.call("Page.navigate", url=url)

    def __enter__(self) -> Page:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._socket.close()

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result."""
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv())
            if message.get("id") == self._number:
                assert "error" not in message, f"{method}: {message['error']}"
                result: dict[str, Any] = message["result"]
                return result

    def js(self, expression: str) -> Any:
        """Return the value of a JavaScript expression."""
        reply = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in reply, reply["exceptionDetails"]
        return reply["result"].get("value")

    def wait(self, expression: str, what: str, deadline_s: float = 15.0) -> Any:
        """Wait until a JavaScript expression is true, and return its value."""
        return wait_until(lambda: self.js(expression), what=what, deadline_s=deadline_s, interval_s=0.05)

    def press(self, chord: str) -> None:
        """Press and release a key: "Tab", "Shift+Tab", "ArrowRight", "a"."""
        *modifiers, key = chord.split("+")
        text = _TYPES.get(key, "" if key in _KEYS else key)
        name = " " if key == "Space" else key
        number = _KEYS.get(key) or (ord(key.upper()) if key.isalnum() else 0)  # a dot has no number of its own
        common = {"key": name, "code": key, "windowsVirtualKeyCode": number,
                  "modifiers": sum(_MODIFIERS[one] for one in modifiers)}
        writes = text and not {"Control", "Alt"} & {*modifiers}
        down = {"type": "keyDown", "text": text} if writes else {"type": "rawKeyDown"}
        self.call("Input.dispatchKeyEvent", **common, **down)
        self.call("Input.dispatchKeyEvent", **common, type="keyUp")

    def type(self, text: str) -> None:
        """Type a text, key by key."""
        for letter in text:
            self.press(letter)

    def screenshot(self, path: Path) -> None:
        """Save what the page looks like."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))
