"""Pages in headless Chromium, with network access to this machine only."""

import base64
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.common.exceptions import TimeoutException
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
needs_chromium = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="needs chromium and chromedriver (Debian: chromium-driver)"
)
ARGUMENTS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
)  # fmt: skip


class Browser:
    """One window. Sizes are CSS pixels."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(self, url: str, *, width: int = 1400, height: int = 900, dark: bool = False) -> None:
        """Load a page in a window of this size, with the reader's preference for dark or light."""
        self._size(width, height)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._command("Emulation.setEmulatedMedia", features=[scheme])
        self.driver.get(url)

    def printed(self) -> None:
        """Show the page as it is printed."""
        self._command("Emulation.setEmulatedMedia", media="print")
        self.run("window.dispatchEvent(new Event('beforeprint'))")

    def pdf(self, path: Path) -> None:
        """Write the page as it is printed on A4 paper, the way round that its style asks for."""
        printed = self.driver.execute_cdp_cmd(
            "Page.printToPDF", {"preferCSSPageSize": True, "paperWidth": 8.27, "paperHeight": 11.69}
        )
        path.write_bytes(base64.b64decode(printed["data"]))

    def text(self) -> str:
        """Return what a reader sees."""
        shown: str = self.run("return document.body ? document.body.innerText : ''")
        return shown

    def wait_for(self, text: str, *, timeout_s: float = 30) -> None:
        """Wait until the page shows `text`."""
        try:
            WebDriverWait(self.driver, timeout_s).until(lambda _: text in self.text())
        except TimeoutException as error:
            raise AssertionError(f"{text!r} is not in: {self.text()}") from error

    def find(self, css: str) -> list[Any]:
        """Return the elements that a CSS selector names."""
        return self.driver.find_elements(By.CSS_SELECTOR, css)

    def click(self, css: str, index: int = 0, *, timeout_s: float = 30) -> None:
        """Click the element that a CSS selector names, once it is there."""
        WebDriverWait(self.driver, timeout_s).until(
            lambda _: len(self.find(css)) > index, message=f"no {css} [{index}]: {self.text()}"
        )
        self.find(css)[index].click()

    def type(self, css: str, text: str) -> None:
        """Write into the field that a CSS selector names, and presse Enter."""
        self.find(css)[0].send_keys(text, Keys.ENTER)

    def click_link(self, text: str) -> None:
        """Click the link that says `text`, where it may have to be scrolled to."""
        link = self.driver.find_element(By.XPATH, f"//a[normalize-space()='{text}']")
        self.driver.execute_script("arguments[0].scrollIntoView()", link)
        link.click()

    def click_text(self, text: str) -> None:
        """Click the button that says `text`."""
        self.driver.find_element(By.XPATH, f"//button[normalize-space()='{text}']").click()

    def run(self, script: str) -> Any:
        """Run JavaScript and return its result."""
        return self.driver.execute_script(script)

    def errors(self) -> list[str]:
        """Return what the page wrote to the console as errors."""
        return [e["message"] for e in self.driver.get_log("browser") if e["level"] == "SEVERE"]

    def screenshot(self, path: Path, *, width: int = 1400, whole_page: bool = False) -> None:
        """Write a PNG of the window, or of the page from top to bottom."""
        if whole_page:
            self._size(width, self.run("return document.documentElement.scrollHeight"))
        self.driver.save_screenshot(str(path))

    def _size(self, width: int, height: int) -> None:
        self._command(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip

    def _command(self, name: str, **arguments: Any) -> None:
        self.driver.execute_cdp_cmd(name, arguments)


@contextmanager
def browser() -> Iterator[Browser]:
    """Start a Chromium of its own, and end it."""
    options = Options()
    options.binary_location = CHROMIUM or ""
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for argument in ARGUMENTS:
        options.add_argument(argument)
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    driver.set_page_load_timeout(60)
    try:
        yield Browser(driver)
    finally:
        driver.quit()
