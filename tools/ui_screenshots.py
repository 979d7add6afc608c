"""Make the pictures of ``docs/ui.md`` in headless Chromium: ``python -m tools.ui_screenshots``."""

from __future__ import annotations

import io
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

import statekeep
from statekeep.contrib.ui import app

from .ui_demo import fill

PICTURES = Path(__file__).parents[1] / "docs" / "images"

MOST = 150_000
"""Bytes of a picture."""


def browser(width: int, height: int, *, dark: bool = False) -> Any:
    """Start Debian's Chromium without a window.

    Args:
        width: of the page in pixels.
        height: likewise.
        dark: prefer dark colours.
    """
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(argument)
    options.add_argument(f"--window-size={width},{height}")
    options.binary_location = shutil.which("chromium") or "chromium"
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver") or "chromedriver"))
    look(driver, width, height, dark=dark)
    return driver


def look(driver: Any, width: int, height: int, *, dark: bool) -> None:
    """Set the size of the page, and which colours are preferred."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


@contextmanager
def served(application: Any) -> Iterator[str]:
    """Serve an application from a thread, and yield its address."""
    config = uvicorn.Config(application, host="127.0.0.1", port=0, log_level="warning", lifespan="off", ws="none")
    server = uvicorn.Server(config)
    listening = config.bind_socket()
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


def save(driver: Any, name: str) -> None:
    """Save what is seen, with few colours, which keeps it small."""
    from PIL import Image

    PICTURES.mkdir(exist_ok=True)
    picture = Image.open(io.BytesIO(driver.get_screenshot_as_png())).convert("RGB")
    picture = picture.quantize(128, dither=Image.Dither.NONE)
    path = PICTURES / f"{name}.png"
    picture.save(path, optimize=True)
    if path.stat().st_size > MOST:
        raise SystemExit(f"{path} has {path.stat().st_size} bytes, more than {MOST}")


def main() -> None:
    """Make them."""
    with statekeep.connect("embedded:") as keep:
        fill(keep)
        newest = next(keep.checkpoints.list("trips/ada")).checkpoint_id
        with served(app(keep, write=True)) as address:
            driver = browser(1100, 800)
            try:
                driver.get(f"{address}/threads?sizes=all")
                save(driver, "ui-threads")
                driver.get(f"{address}/thread?id=trips/ada")
                save(driver, "ui-thread")
                look(driver, 1100, 800, dark=True)
                driver.get(f"{address}/checkpoint?thread=trips/ada&id={newest}")
                save(driver, "ui-checkpoint")
                look(driver, 400, 800, dark=False)
                driver.get(f"{address}/thread?id=trips/ada")
                save(driver, "ui-narrow")
            finally:
                driver.quit()


if __name__ == "__main__":
    main()
