"""The page as tests speak of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page, Request

# Each <audio> the page makes is kept, as none of them is in the document.
WATCH_AUDIO = """
window.sounds = [];
const make = document.createElement.bind(document);
document.createElement = (tag, ...rest) => {
  const element = make(tag, ...rest);
  if (String(tag).toLowerCase() === "audio") window.sounds.push(element);
  return element;
};
"""


@dataclass
class ListeningPage:
    """The page at an address, once opened."""

    page: Page
    url: str

    def open(self, address: str = "") -> ListeningPage:
        self.page.add_init_script(WATCH_AUDIO)
        self.page.goto(self.url + "/" + address)
        self.page.wait_for_selector("#about:not(:empty)")
        return self

    def ask(self, text: str) -> Locator:
        """The first hit."""
        self.page.fill("#text", text)
        self.page.press("#text", "Enter")
        self.settled()
        return self.hit()

    def settled(self) -> None:
        """Once a search is over."""
        self.page.wait_for_selector("#results:not([aria-busy])")

    def hit(self, index: int = 0) -> Locator:
        return self.page.locator(".hit").nth(index)

    def hit_named(self, name: str) -> Locator:
        return self.page.locator(".hit").filter(has=self.page.locator("h3", has_text=name)).first

    def searching(self) -> Any:
        """`with page.searching() as told: ...`; then `asked(told)`."""
        return self.page.expect_request("**/v1/search")

    def wave(self, within: Locator) -> Locator:
        """Once it is drawn."""
        within.scroll_into_view_if_needed()
        wave = within.locator(".wave")
        wave.locator(".waveform > div").wait_for()
        self.page.wait_for_function("wave => !wave.ariaBusy", arg=wave.element_handle())
        return wave

    def drag(self, wave: Locator, start: float, end: float) -> None:
        """Over a waveform, from and to these shares of its width."""
        box = wave.bounding_box()
        assert box is not None
        middle = box["y"] + box["height"] / 2
        self.page.mouse.move(box["x"] + start * box["width"], middle)
        self.page.mouse.down()
        self.page.mouse.move(box["x"] + (start + end) / 2 * box["width"], middle, steps=4)
        self.page.mouse.move(box["x"] + end * box["width"], middle, steps=4)
        self.page.mouse.up()

    def playing(self) -> list[dict[str, Any]]:
        """What sounds now: `src` and `time`."""
        sounding: list[dict[str, Any]] = self.page.evaluate(
            "sounds.filter(s => !s.paused).map(s => ({src: s.currentSrc, time: s.currentTime}))"
        )
        return sounding

    def wait_until_sounding(self) -> None:
        """And its time moves on."""
        self.page.wait_for_function(
            """() => sounds.some((sound) => {
              const before = (sound.noted ??= sound.currentTime);
              return !sound.paused && sound.readyState > 2 && sound.currentTime > before + 0.15;
            })"""
        )

    def wait_until_silent(self) -> None:
        self.page.wait_for_function("() => sounds.every((sound) => sound.paused)")

    @property
    def status(self) -> str:
        return self.page.locator("#status").inner_text()


def asked(told: Any) -> dict[str, Any]:
    """What a request of `searching` asked."""
    request: Request = told.value
    body: dict[str, Any] = request.post_data_json
    return body
