"""A headless Chromium driven over its debugging pipe, with nothing but the standard library."""

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
         "--no-first-run", "--hide-scrollbars", "--remote-debugging-pipe")  # fmt: skip


class Page:
    """One tab: evaluates, clicks where an element is, and knows what was requested and what failed."""

    def __init__(self, write_fd: int, read_fd: int) -> None:
        self._write, self._read = write_fd, os.fdopen(read_fd, "rb", buffering=0)
        self._pending = b""
        self._count = 0
        self._session: str | None = None
        self.requests: list[str] = []
        self.faults: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One command and its result; events on the way are noted."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while (found := self._next()).get("id") != self._count:
            self._note(found)
        assert "error" not in found, found
        return found["result"]

    def open(self, path: Path, width: int = 1400, height: int = 1000) -> None:
        """Load a file and wait until it is drawn."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=1, mobile=False)  # fmt: skip
        self.call("Page.navigate", url=path.as_uri())
        while (found := self._next()).get("method") != "Page.loadEventFired":
            self._note(found)

    def see(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def hover(self, selector: str) -> tuple[float, float]:
        """Move the mouse onto the middle of the first element that matches."""
        where = f"document.querySelector({json.dumps(selector)})"
        self.see(f"{where}.scrollIntoView({{block: 'center'}})")
        x, y = self.see(
            f"(r => [r.x + r.width / 2, r.y + r.height / 2])({where}.getBoundingClientRect())"
        )
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        return x, y

    def click(self, selector: str) -> None:
        """Press and release the mouse on an element."""
        x, y = self.hover(selector)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def type(self, selector: str, text: str) -> None:
        """Click into a box and type."""
        self.click(selector)
        self.call("Input.insertText", text=text)

    def screenshot(self, path: Path) -> None:
        """The visible part of the page as PNG."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._pending:
            more = self._read.read(1 << 16)
            assert more, "Chromium has gone"
            self._pending += more
        message, self._pending = self._pending.split(b"\0", 1)
        return json.loads(message)

    def _note(self, event: dict[str, Any]) -> None:
        method, params = event.get("method"), event.get("params", {})
        if method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        if method == "Runtime.exceptionThrown":
            self.faults.append(str(params["exceptionDetails"]))
        if method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.faults.append(params["entry"]["text"])

    def close(self) -> None:
        """Let go of the pipe's reading end."""
        self._read.close()


@contextmanager
def browser(profile: Path) -> Iterator[Page]:
    """A tab of a fresh Chromium, which ends with the block."""
    assert CHROMIUM is not None
    there_read, here_write = os.pipe()
    here_read, there_write = os.pipe()
    # Chromium wants its ends as descriptors 3 and 4; a shell moves them there.
    script = f'exec "$0" "$@" 3<&{there_read} 4>&{there_write}'
    command = ["bash", "-c", script, CHROMIUM, *FLAGS, f"--user-data-dir={profile}"]
    with subprocess.Popen(
        command, pass_fds=(there_read, there_write), stderr=subprocess.DEVNULL
    ) as process:
        os.close(there_read)
        os.close(there_write)
        tab = None
        try:
            tab = Page(here_write, here_read)
            yield tab
        finally:
            os.close(here_write)
            process.terminate()
            process.wait(10)
            if tab is not None:
                tab.close()
