"""The report in a real, headless Chromium, driven over the DevTools protocol's pipe."""

from __future__ import annotations

import base64
import csv
import fcntl
import io
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from recalltrap_analysis.report.build import write_report

if TYPE_CHECKING:
    from tests.analysis.conftest import FakeRun, MakeRun

pytestmark = pytest.mark.slow
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
SWITCHES = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-extensions",
    "--disable-background-networking", "--disable-dev-shm-usage", "--remote-debugging-pipe",
)  # fmt: skip
OVERFLOWING = """
(() => {
  document.querySelectorAll('details').forEach(d => { d.open = true; });
  const wide = [];
  for (const e of document.body.querySelectorAll('*')) {
    if (e.closest('.scroll, pre')?.contains(e) && !e.matches('.scroll, pre')) continue;
    const box = e.getBoundingClientRect();
    if (box.right > innerWidth + 1) wide.push(`${e.tagName}.${e.className} ${box.right}`);
  }
  return {page: document.documentElement.scrollWidth, wide};
})()
"""


class Browser:
    """One page of a Chromium; `events` holds everything that it reported."""

    def __init__(self, program: str, profile: str) -> None:
        self.events: list[dict[str, Any]] = []
        self._count = 0
        (to_read, self._to), (self._from, to_write) = os.pipe(), os.pipe()

        def wire() -> None:
            ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (to_read, to_write)]
            os.dup2(ends[0], 3)
            os.dup2(ends[1], 4)

        # the pipe's ends must become the descriptors 3 and 4 of the browser
        self._process = subprocess.Popen(
            [program, *SWITCHES, f"--user-data-dir={profile}"],
            preexec_fn=wire, close_fds=False,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(to_read)
        os.close(to_write)
        self._buffer = b""
        self._session: str | None = None
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        attached = self.send("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._to)
        os.close(self._from)

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            chunk = os.read(self._from, 1 << 16)
            assert chunk, "the browser has ended"
            self._buffer += chunk
        message, self._buffer = self._buffer.split(b"\0", 1)
        found: dict[str, Any] = json.loads(message)
        return found

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol; its result."""
        self._count += 1
        call: dict[str, Any] = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            call["sessionId"] = self._session
        os.write(self._to, json.dumps(call).encode() + b"\0")
        while True:
            message = self._receive()
            if message.get("id") == self._count:
                assert "error" not in message, message
                result: dict[str, Any] = message["result"]
                return result
            self.events.append(message)

    def visit(self, path: Path) -> None:
        """Open a file and wait until it has loaded."""
        self.events.clear()
        self.send("Page.navigate", url=path.as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._receive())

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        result = self.send(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def settle(self) -> None:
        """Wait until what was done has been drawn, and its scroll events have been sent."""
        frame = "new Promise(done => requestAnimationFrame(() => done()))"
        for _ in range(3):
            self.evaluate(frame)

    def resize(self, width: int, height: int = 900) -> None:
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 500,
        )  # fmt: skip

    def complaints(self) -> list[Any]:
        """Exceptions, and whatever stands in the console as an error or a warning."""
        logged = [
            event["params"]["entry"] for event in self.events
            if event.get("method") == "Log.entryAdded"
        ]  # fmt: skip
        return [
            *(entry for entry in logged if entry["level"] in ("error", "warning")),
            *(e for e in self.events if e.get("method") == "Runtime.exceptionThrown"),
            *(e for e in self.events if e.get("method") == "Runtime.consoleAPICalled"),
        ]

    def requests(self) -> set[str]:
        """Every address that the page asked for."""
        return {
            event["params"]["request"]["url"] for event in self.events
            if event.get("method") == "Network.requestWillBeSent"
        }  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = next((found for name in NAMES if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip(f"no Chromium on this machine (looked for {', '.join(NAMES)})")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        opened = Browser(program, profile)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def run(make_shared_run: MakeRun) -> FakeRun:
    return make_shared_run(
        grid={"kl_weight": (0.25, 0.5, 1.0, 2.0, 4.0), "student_components": (4, 3)},
        orderings=("K-A", "A-K", "A", "K-A-K"),
        seeds=5,
        order_effect=lambda p: 0.1 * p["kl_weight"] * (5 - p["student_components"]),
        failing=lambda o, s, p: o == "A" and s == 1,
        name="mog/a-name-without-any-space-that-is-longer-than-a-phone-is-wide-" + "x" * 40,
        question="Does <i>nothing</i> overflow?",
    )


@pytest.fixture(scope="module")
def path(run: FakeRun) -> Path:
    return Path(write_report(run))


def test_the_page_loads_quietly_and_alone(browser: Browser, run: FakeRun, path: Path) -> None:
    browser.resize(1280)
    browser.visit(path)
    assert browser.complaints() == []
    outside = {url for url in browser.requests() if not url.startswith("data:")}
    assert outside == {path.as_uri()}
    shown = browser.evaluate(
        "[...document.querySelectorAll('figure')].map(f => [f.id, "
        "f.querySelector('svg')?.getBoundingClientRect().width ?? 0])"
    )
    assert len(shown) == 13
    assert all(width > 200 for _, width in shown), shown
    assert browser.evaluate("document.querySelector('h1').textContent") == run.study.question


TABLE = "document.querySelector('[aria-label=\"order effect\"] table.data')"


def column(browser: Browser, index: int) -> list[str]:
    """The cells of one column of the first table, as they stand."""
    found: list[str] = browser.evaluate(
        f"[...{TABLE}.tBodies[0].rows].map(row => row.cells[{index}].textContent)"
    )
    return found


def test_tables_sort_and_filter(browser: Browser, path: Path) -> None:
    browser.resize(1280)
    browser.visit(path)
    before = column(browser, 2)
    heading = f"{TABLE}.querySelectorAll('th')[2]"
    assert browser.evaluate(f"{heading}.textContent") == "order effect"
    browser.evaluate(f"{heading}.querySelector('button').click()")
    values = [float(text.split(" ")[0]) for text in column(browser, 2)]
    assert values == sorted(values)
    assert browser.evaluate(f"{heading}.getAttribute('aria-sort')") == "ascending"
    browser.evaluate(f"{heading}.querySelector('button').click()")
    values = [float(text.split(" ")[0]) for text in column(browser, 2)]
    assert values == sorted(values, reverse=True)
    assert sorted(column(browser, 2)) == sorted(before)
    browser.evaluate(
        "(box => { box.value = '0.25 6'; box.dispatchEvent(new Event('input')); })"
        "(document.querySelector('input[aria-label=\"filter rows of order effect\"]'))"
    )
    hidden = browser.evaluate(f"[...{TABLE}.tBodies[0].rows].map(row => row.hidden)")
    assert 0 < sum(hidden) < len(hidden)


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_overflows(browser: Browser, path: Path, width: int) -> None:
    browser.resize(width)
    browser.visit(path)
    found = browser.evaluate(OVERFLOWING)
    assert found["wide"] == []
    assert found["page"] <= width
    browser.evaluate(
        "document.body.insertAdjacentHTML('beforeend', '<p style=\"width: 3000px\">wide</p>')"
    )
    assert browser.evaluate(OVERFLOWING)["wide"], "the check can't see what overflows"


def test_it_reads_without_script_in_the_dark_and_on_paper(browser: Browser, path: Path) -> None:
    try:
        browser.send("Emulation.setScriptExecutionDisabled", value=True)
        browser.visit(path)
        assert browser.evaluate("document.querySelectorAll('table.data td').length") > 50
        assert browser.evaluate("document.querySelectorAll('th button').length") == 0
    finally:
        browser.send("Emulation.setScriptExecutionDisabled", value=False)
    browser.visit(path)
    backgrounds = {}
    for scheme in ("light", "dark"):
        feature = {"name": "prefers-color-scheme", "value": scheme}
        browser.send("Emulation.setEmulatedMedia", features=[feature])
        backgrounds[scheme] = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    assert backgrounds == {"light": "rgb(255, 255, 255)", "dark": "rgb(22, 25, 28)"}
    printed = base64.b64decode(browser.send("Page.printToPDF")["data"])
    assert printed.startswith(b"%PDF")


MARKS = "[...document.querySelectorAll('#figure-order-effect .value')]"


def test_points_tell_their_values_to_the_pointer_and_the_keyboard(
    browser: Browser, path: Path
) -> None:
    browser.resize(1280)
    browser.visit(path)
    labels = browser.evaluate(f"{MARKS}.map(mark => mark.getAttribute('aria-label'))")
    assert len(labels) == 20  # ten grid points, a panel for each of the two effects
    for label in labels:
        assert ("order effect" in label) != ("severity (estimated from the optima)" in label)
    assert browser.evaluate(f"{MARKS}.filter(mark => mark.tabIndex === 0).length") == 1
    tooltip = "(t => t.hidden ? null : t.textContent)(document.querySelector('.tooltip'))"
    assert browser.evaluate(tooltip) is None
    browser.evaluate(f"{MARKS}[3].scrollIntoView({{block: 'center'}})")
    browser.settle()
    box = browser.evaluate(
        f"(b => [b.x + b.width / 2, b.y + b.height / 2])({MARKS}[3].getBoundingClientRect())"
    )
    browser.send("Input.dispatchMouseEvent", type="mouseMoved", x=box[0], y=box[1])
    assert browser.evaluate(tooltip) == labels[3]
    browser.send("Input.dispatchMouseEvent", type="mouseMoved", x=1, y=1)
    assert browser.evaluate(tooltip) is None
    browser.evaluate(f"{MARKS}[0].focus({{preventScroll: true}})")
    assert browser.evaluate(tooltip) == labels[0]
    browser.send("Input.dispatchKeyEvent", type="keyDown", key="ArrowRight", code="ArrowRight")
    assert browser.evaluate(tooltip) == labels[1]
    assert browser.evaluate(f"{MARKS}.indexOf(document.activeElement)") == 1
    browser.evaluate("scrollTo(0, 0)")
    browser.settle()
    assert browser.evaluate(tooltip) == labels[1], "scrolling hides what the keyboard chose"
    browser.evaluate("document.activeElement.blur()")
    assert browser.evaluate(tooltip) is None


def test_a_table_saves_its_exact_numbers(browser: Browser, path: Path) -> None:
    browser.visit(path)
    text = browser.evaluate(
        "(a => new TextDecoder().decode(Uint8Array.from(atob(a.href.split(',')[1]), "
        "c => c.charCodeAt(0))))"
        "(document.querySelector('a[aria-label=\"Save order effect as CSV\"]'))"
    )
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == 10
    exact = [float(row["order_effect.value"]) for row in rows]
    shown = [float(cell.split(" ")[0]) for cell in column(browser, 2)]
    assert [round(value, 2) + 0.0 for value in exact] == pytest.approx(shown)
    assert any(value != round(value, 2) for value in exact)
    name = browser.evaluate(
        "document.querySelector('a[aria-label=\"Save order effect as CSV\"]').download"
    )
    assert name.endswith("-order-effect.csv")


@pytest.mark.parametrize("width", [390, 1280])
def test_figures_are_whole_and_as_wide_as_the_column(
    browser: Browser, path: Path, width: int
) -> None:
    browser.resize(width)
    browser.visit(path)
    shown = browser.evaluate(
        "[...document.querySelectorAll('.plot')].map(p => [p.clientWidth, p.scrollWidth, "
        "p.parentNode.clientWidth, p.querySelector('svg').getBoundingClientRect().width])"
    )
    assert len(shown) == 13
    for inner, needed, whole, svg in shown:
        assert needed <= inner == whole
        assert whole - 12 < svg <= whole


def test_what_is_not_read_first_is_folded(browser: Browser, path: Path) -> None:
    browser.visit(path)
    assert browser.evaluate("document.querySelector('.glossary').open") is False
    folded = browser.evaluate(
        "[...document.querySelectorAll('summary')].map(s => s.textContent)"
        ".filter(text => text.includes('tested by this run'))"
    )
    assert len(folded) == 1


def test_a_report_of_several_runs(browser: Browser, run: FakeRun, make_run: MakeRun) -> None:
    other = make_run(name="mog/other", seeds=4, grid={"kl_weight": (1.0, 2.0)})
    other.run = "studies/other"
    path = Path(write_report(run, other))
    browser.resize(390)
    browser.visit(path)
    assert browser.complaints() == []
    assert browser.evaluate(OVERFLOWING)["wide"] == []
    assert browser.evaluate("document.querySelectorAll('article').length") == 3
    broken = browser.evaluate(
        "[...document.querySelectorAll('nav a')].map(a => a.getAttribute('href').slice(1))"
        ".filter(id => !document.getElementById(id))"
    )
    assert broken == []
