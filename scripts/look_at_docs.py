"""What a browser makes of the documentation: `make docs-look`.

    python scripts/look_at_docs.py build/docs build/docs-look [PAGE...]

Opens each page in a headless Chromium, as wide as a phone (390 pixels) and as a desktop, in light
and in dark mode, and complains of a page that is wider than its window, of an error of its scripts,
and of a search that finds nothing. The pictures it takes are for a person to look at.
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
import tempfile
import threading
from contextlib import ExitStack
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from websockets.sync.client import connect

WIDTHS = {"phone": 390, "desktop": 1400}
MODES = ("light", "dark")

# What no element but one that scrolls by itself may do.
WIDER = """
(() => {
  const wide = [];
  if (document.documentElement.scrollWidth > innerWidth)
    for (const one of document.querySelectorAll('article *')) {
      let box = one.getBoundingClientRect(), scrolls = false;
      for (let up = one; up; up = up.parentElement)
        scrolls ||= /auto|scroll|hidden/.test(getComputedStyle(up).overflowX);
      if (box.right > innerWidth + 1 && !scrolls)
        wide.push(one.tagName + ' ' + one.textContent.slice(0, 50));
    }
  return JSON.stringify([document.documentElement.scrollWidth, wide.slice(0, 5)]);
})()
"""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        """Not a word."""


class Browser:
    """A page of Chromium, driven by its DevTools protocol."""

    def __init__(self, profile: str) -> None:
        self.stack = ExitStack()
        program = shutil.which("chromium") or shutil.which("google-chrome")
        if program is None:
            sys.exit("there is no chromium: apt-get install chromium")
        self.process = subprocess.Popen(
            [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
             "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"],
            stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        assert self.process.stderr is not None
        address = next(
            line.split()[-1] for line in self.process.stderr if "DevTools listening" in line
        )
        threading.Thread(target=self.process.stderr.read, daemon=True).start()
        self.socket = self.stack.enter_context(connect(address, max_size=None))
        self.number = 0
        self.session = ""
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self.session = attached["sessionId"]
        for domain in "Page", "Runtime":
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: object) -> dict[str, Any]:
        self.number += 1
        message: dict[str, object] = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        self.socket.send(json.dumps(message))
        while True:
            answer = json.loads(self.socket.recv(timeout=30))
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return dict(answer["result"])
            self.events.append(answer)

    def show(self, url: str, width: int, mode: str) -> None:
        """Open a page, and wait until it is there."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=900, deviceScaleFactor=1, mobile=width < 500,
        )  # fmt: skip
        features = [{"name": "prefers-color-scheme", "value": mode}]
        self.call("Emulation.setEmulatedMedia", features=features)
        self.events.clear()
        self.call("Page.navigate", url=url)
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(json.loads(self.socket.recv(timeout=30)))

    def value(self, expression: str) -> Any:
        """What JavaScript says; a promise is waited for."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        return answer["result"].get("value")

    def picture(self, file: Path, height: int) -> None:
        clip = {"x": 0, "y": 0, "width": self.value("innerWidth"), "height": height, "scale": 1}
        shot = self.call("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(shot["data"]))

    def close(self) -> None:
        self.stack.close()
        self.process.terminate()
        self.process.wait()


def look(browser: Browser, site: str, pages: list[str], pictures: Path) -> list[str]:
    """What is wrong with the pages."""
    wrong: list[str] = []
    for page in pages:
        for kind, width in WIDTHS.items():
            for mode in MODES:
                browser.show(f"{site}/{page}", width, mode)
                there, wide = json.loads(browser.value(WIDER))
                if there > width:
                    wrong.append(f"{page} is {there} pixels wide on a {kind}: {wide}")
                failed = [e for e in browser.events if e.get("method") == "Runtime.exceptionThrown"]
                wrong += [f"{page}: {event['params']}" for event in failed]
                name = page.removesuffix(".html").replace("/", "-")
                height = min(browser.value("document.documentElement.scrollHeight"), 3000)
                browser.picture(pictures / f"{name}-{kind}-{mode}.png", height)
    return wrong


def search(browser: Browser, site: str, pictures: Path) -> list[str]:
    """What is wrong with the search."""
    browser.show(f"{site}/search.html?q=unix_mode", WIDTHS["phone"], "light")
    found = browser.value(
        "new Promise(tell => { let tries = 0; const look = () => {"
        " const found = document.querySelectorAll('#search-results li a').length;"
        " found || ++tries > 100 ? tell(found) : setTimeout(look, 50) }; look() })"
    )
    browser.picture(pictures / "search.png", 900)
    return [] if found else ["the search for unix_mode finds nothing"]


def main() -> int:
    root, pictures = Path(sys.argv[1]), Path(sys.argv[2])
    pictures.mkdir(parents=True, exist_ok=True)
    pages = sys.argv[3:] or sorted(
        str(page.relative_to(root))
        for page in root.rglob("*.html")
        if page.name not in ("search.html", "genindex.html", "py-modindex.html")
    )
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(root)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    site = f"http://127.0.0.1:{server.server_port}"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Browser(profile)
        try:
            wrong = look(browser, site, pages, pictures) + search(browser, site, pictures)
        finally:
            browser.close()
    server.shutdown()
    print(*(wrong or [f"{len(pages)} pages are well; pictures are in {pictures}"]), sep="\n")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
