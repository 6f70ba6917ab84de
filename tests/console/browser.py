"""Debian's Chromium, controlled by Debian's driver."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from selenium.common.exceptions import WebDriverException
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.select import Select
from selenium.webdriver.support.wait import WebDriverWait

from tests.peers.process import program

_SECONDS = 60


class Browser:
    """One window. At the end of a test, warnings about a page's scripts or its content security policy are errors."""

    def __init__(self, folder: Path, width: int = 1280, height: int = 900) -> None:
        options = ChromeOptions()
        options.binary_location = str(program("chromium"))
        for argument in (
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            f"--user-data-dir={folder}",
            f"--window-size={width},{height}",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        ):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = Chrome(options=options, service=Service(str(program("chromedriver"))))
        self._base = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.driver.quit()

    def sign_in(self, url: str, key: str) -> None:
        self._base = url
        self.driver.delete_all_cookies()
        self.open("/")
        self.type("key", key)
        self.press("Sign in")
        self.wait_for("Overview")

    def open(self, path: str) -> None:
        self.driver.get(self._base + path)

    def type(self, name: str, text: str) -> None:
        """Types into the field with this name."""
        entry = self.driver.find_element(By.NAME, name)
        entry.clear()
        entry.send_keys(text)

    def choose(self, name: str, text: str) -> None:
        """Chooses an entry in the list with this name."""
        Select(self.driver.find_element(By.NAME, name)).select_by_visible_text(text)

    def tick(self, name: str, value: str) -> None:
        """Clicks the radio button or box with this name and value."""
        button = self.driver.find_element(By.CSS_SELECTOR, f'input[name="{name}"][value="{value}"]')
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", button)
        button.click()

    def press(self, text: str) -> None:
        """Clicks the first button or link with this text, and returns when the next page is loaded."""
        path = f"//*[(self::a or self::button) and normalize-space()='{text}']"
        self._click(self.driver.find_element(By.XPATH, path))

    def follow(self, start: str) -> None:
        """Clicks the first link whose address begins with `start`, and returns when the next page is loaded."""
        self._click(self.driver.find_element(By.CSS_SELECTOR, f'main a[href^="{start}"]'))

    @property
    def path(self) -> str:
        """The path of the open page."""
        return self.driver.current_url.removeprefix(self._base)

    def wait_for(self, text: str) -> None:
        """Returns when the page shows this text."""
        WebDriverWait(self.driver, _SECONDS).until(lambda _: text in self.text, f"the page shows {text!r}")

    @property
    def text(self) -> str:
        """The text that a reader sees."""
        return self.driver.find_element(By.TAG_NAME, "body").text

    def complaints(self) -> list[str]:
        """Returns the browser's warnings since the last call: refused scripts and styles, missing files."""
        lines = self.driver.get_log("browser")  # type: ignore[no-untyped-call]
        return [str(line["message"]) for line in lines if line["level"] in ("WARNING", "SEVERE")]

    def _click(self, element: WebElement) -> None:
        # The next page does not have this mark, because the mark disappears together with its page.
        self.driver.execute_script("window.before = true; arguments[0].scrollIntoView({block: 'center'})", element)
        element.click()
        is_next = "return !window.before && document.readyState === 'complete'"
        waiting = WebDriverWait(self.driver, _SECONDS, ignored_exceptions=[WebDriverException])
        waiting.until(lambda driver: driver.execute_script(is_next), "the next page is loaded")
