"""The pages in headless Chromium: how they look, by keyboard, and for assistive programs."""

from __future__ import annotations

import itertools
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from starlette.responses import PlainTextResponse

import statekeep
from statekeep import Channel, Checkpoint, Payload
from statekeep.contrib.ui import app
from statekeep.repositories.connection import Connection
from tools.ui_demo import fill

if shutil.which("chromium") is None or shutil.which("chromedriver") is None:
    pytest.skip("no browser: apt-get install --no-install-recommends chromium chromium-driver", allow_module_level=True)
_AXE = next((name for name in ("axe_playwright_python", "axe_core_python") if find_spec(name) is not None), None)
if find_spec("selenium") is None or _AXE is None:
    pytest.skip("selenium and axe-core-python are not installed: they are in the group dev", allow_module_level=True)

from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

from tools.ui_screenshots import browser, look, served  # noqa: E402

HOSTILE = '<img src=x onerror="document.title=1"><script>document.title=1</script>\u202e\x00'

AXE = Path(str(find_spec(_AXE).origin)).with_name("axe.min.js").read_text(encoding="utf-8")  # type: ignore[union-attr]


@pytest.fixture(scope="module")
def keep() -> Iterator[Connection]:
    with statekeep.connect("memory:") as keep:
        fill(keep, others=2)
        channels = {HOSTILE: Channel.of(1, Payload(encoding="json", data=b'["javascript:alert(1)"]'))}
        for id_, parent in [("1", None), ("2", "1")]:
            keep.checkpoints.put(
                Checkpoint(
                    thread_id=HOSTILE,
                    checkpoint_id=id_,
                    parent_id=parent,
                    channels=channels,
                    metadata={"source": HOSTILE},
                )
            )
        yield keep


@pytest.fixture(scope="module")
def address(keep: Connection) -> Iterator[str]:
    with served(app(keep, write=True)) as address:
        yield address


@pytest.fixture(scope="module")
def driver() -> Iterator[Any]:
    driver = browser(1400, 900)
    driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": """
        window.refused = [];
        document.addEventListener('securitypolicyviolation', (e) => window.refused.push(e.violatedDirective));
    """})  # fmt: skip
    yield driver
    driver.quit()


def pages(keep: Connection) -> dict[str, str]:
    """Return a page of each kind, by name."""
    newest = next(keep.checkpoints.list("trips/ada")).checkpoint_id
    odd = quote(HOSTILE, safe="")
    return {
        "threads": "/threads",
        "thread": "/thread?id=trips/ada",
        "checkpoint": f"/checkpoint?thread=trips/ada&id={newest}",
        "value": f"/value?thread=trips/ada&id={newest}&channel=messages",
        "items": "/items?namespace=users/ada",
        "item": "/item?namespace=users/ada&key=profile",
        "logs": "/logs",
        "log": "/log?name=chat/ada",
        "cache": "/cache",
        "entries": "/cache/entries?namespace=weather",
        "confirm": "/confirm?action=prune-thread&thread=trips/ada",
        "problem": "/thread?id=nobody",
        "hostile thread": f"/thread?id={odd}",
        "hostile checkpoint": f"/checkpoint?thread={odd}&id=2",
    }


LOOKS = [(False, 1400), (False, 400), (True, 400), (True, 1400)]


def violations(driver: Any, *, colours_alone: bool) -> list[str]:
    """Return what axe-core finds wrong with a page, all of it unfolded."""
    driver.execute_script("document.querySelectorAll('details').forEach((each) => { each.open = true; });")
    if not driver.execute_script("return Boolean(window.axe)"):
        driver.execute_cdp_cmd("Runtime.evaluate", {"expression": AXE})
    found = driver.execute_async_script("""
        const [coloursAlone, done] = arguments;
        const options = {resultTypes: ['violations']};
        if (coloursAlone) options.runOnly = ['color-contrast'];
        axe.run(document, options).then((results) => done(results.violations.map(
            (each) => each.id + ': ' + each.nodes.slice(0, 3).map((node) => node.html).join(' ; '))));
    """, colours_alone)  # fmt: skip
    return list(found)


def test_every_page_at_every_size_in_light_and_dark(driver: Any, address: str, keep: Connection) -> None:
    wrong = {}
    for name, path in pages(keep).items():
        driver.get(address + path)
        title = driver.title
        for dark, width in LOOKS:
            look(driver, width, 900, dark=dark)
            wide = driver.execute_script("return document.documentElement.scrollWidth")
            ground = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
            assert wide <= width, (name, width, wide)
            assert (sum(map(int, ground.strip("rgb()").split(","))) < 200) is dark, (name, ground)
            # All that does not depend on colours is the same in light and dark.
            if (dark, width) in ((True, 400), (False, 1400)):
                wrong[name, dark, width] = violations(driver, colours_alone=not dark)
        assert driver.execute_script("return window.refused") == [], name
        assert driver.title == title == driver.title, name
        assert (
            driver.execute_script("return document.querySelectorAll('main img, main script, main style').length") == 0
        )
        assert driver.execute_script("return document.querySelectorAll('a[href^=\"javascript:\"]').length") == 0
        errors = [
            line for line in driver.get_log("browser") if line["level"] == "SEVERE" and "404" not in line["message"]
        ]
        assert errors == [], name
    assert {page: found for page, found in wrong.items() if found} == {}


def until(holds: Callable[[], Any], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def focused(driver: Any) -> Any:
    return driver.switch_to.active_element


def tab_to(driver: Any, text: str, most: int = 60) -> None:
    """Press the tab key until something with a text has the focus, and can be seen to have it."""
    for _ in range(most):
        focused(driver).send_keys(Keys.TAB)
        here = focused(driver)
        if text in (here.text or here.get_attribute("name") or ""):
            outline = driver.execute_script("return getComputedStyle(document.activeElement).outlineStyle")
            assert outline != "none"
            return
    raise AssertionError(f"{text!r} cannot be reached with the tab key")


def test_all_is_done_by_keyboard(driver: Any, address: str, keep: Connection) -> None:
    look(driver, 1400, 900, dark=False)
    driver.get(f"{address}/threads")
    tab_to(driver, "Skip to content", most=1)
    focused(driver).send_keys(Keys.ENTER)
    assert driver.execute_script("return document.activeElement.id") == "main"
    tab_to(driver, "prefix")
    focused(driver).send_keys("support/000", Keys.ENTER)
    until(lambda: driver.find_elements(By.XPATH, "//td[@data-name='Steps'][.='5']"))
    tab_to(driver, "support/000")
    focused(driver).send_keys(Keys.ENTER)
    tab_to(driver, "Step 3")
    focused(driver).send_keys(Keys.ENTER)
    assert "/checkpoint" in driver.current_url
    tab_to(driver, "Calls weather")
    call = focused(driver).find_element(By.XPATH, "..")
    assert call.get_attribute("open") is None
    focused(driver).send_keys(Keys.ENTER)
    assert call.get_attribute("open") is not None
    driver.get(f"{address}/thread?id=support/000")
    tab_to(driver, "Delete…")
    focused(driver).send_keys(Keys.ENTER)
    tab_to(driver, "word")
    focused(driver).send_keys("delete")
    tab_to(driver, "Delete this thread", most=1)
    focused(driver).send_keys(Keys.ENTER)
    assert "Deleted." in driver.find_element(By.TAG_NAME, "main").text
    assert keep.checkpoints.get("support/000") is None


def test_a_new_step_is_shown_within_two_seconds_and_seldom_asked_for(driver: Any, keep: Connection) -> None:
    asked: list[tuple[float, str]] = []
    inner = app(keep)

    async def counting(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            asked.append((time.monotonic(), scope["path"]))
        if is_away:
            await PlainTextResponse("away", 503)(scope, receive, send)
            return
        await inner(scope, receive, send)

    def put(id_: str, parent: str | None) -> None:
        keep.checkpoints.put(
            Checkpoint(thread_id="live", checkpoint_id=id_, parent_id=parent, metadata={"step": int(id_)})
        )

    is_away = False
    put("1", None)
    with served(counting) as address:
        driver.get(f"{address}/thread?id=live")
        link = driver.find_element(By.PARTIAL_LINK_TEXT, "Step 1")
        driver.execute_script("arguments[0].focus()", link)
        timer = threading.Timer(0.3, put, ["2", "1"])
        timer.start()
        began = time.monotonic()
        while not driver.find_elements(By.PARTIAL_LINK_TEXT, "Step 2"):
            assert time.monotonic() - began < 2.3
            time.sleep(0.05)
        timer.join()
        assert "Step 1" in focused(driver).text  # the focus stays where it was
        assert "Updated at" in driver.find_element(By.ID, "news").text
        time.sleep(1.6)
        times = [at for at, path in asked if path == "/thread/state"]
        assert len(times) >= 2
        assert all(later - earlier >= 0.99 for earlier, later in itertools.pairwise(times))
        # The service is away, and comes again.
        is_away = True
        until(lambda: "no answer" in driver.find_element(By.ID, "news").text, 3)
        is_away = False
        until(lambda: not driver.find_element(By.ID, "news").text, 3)
        # Nobody looks: nothing is asked.
        window = driver.current_window_handle
        driver.switch_to.new_window("tab")
        driver.get("about:blank")
        driver.execute_cdp_cmd("Page.bringToFront", {})
        time.sleep(0.3)
        before = len(asked)
        time.sleep(1.3)
        assert len(asked) <= before + 1
        driver.close()
        driver.switch_to.window(window)


def test_a_page_of_another_site_learns_and_changes_nothing(driver: Any, address: str, keep: Connection) -> None:
    async def evil(scope: Any, receive: Any, send: Any) -> None:
        body = b"<!doctype html><title>evil</title><body>"
        headers = [(b"content-type", b"text/html")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    with served(evil) as other:
        driver.get(other)
        got = driver.execute_async_script("""
            const [address, done] = arguments;
            const read = fetch(address + '/threads', {credentials: 'include'}).then(() => 'read', () => 'refused');
            const sent = fetch(address + '/change', {method: 'POST', mode: 'no-cors', body: 'a=1'})
                .then((answer) => answer.type, () => 'refused');
            const frame = document.createElement('iframe');
            frame.src = address + '/threads';
            const framed = new Promise((resolve) => { frame.onload = () => {
                try { resolve(frame.contentDocument ? 'read' : 'refused'); } catch { resolve('refused'); } }; });
            document.body.append(frame);
            Promise.all([read, sent, framed]).then(done);
        """, address)  # fmt: skip
        assert got == ["refused", "refused", "refused"]
        # A name that resolves to this machine: the host is another one.
        driver.get(address.replace("127.0.0.1", "rebound.localhost") + "/threads")
        assert "trips/ada" not in driver.page_source
        assert "not served here" in driver.page_source
