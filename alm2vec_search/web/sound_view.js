/**
 * One sound to look at and listen to: waveform over spectrogram, a time axis, what plays it, and a
 * region to search with. Hits and the sound of the question are shown by it alike.
 */
import { ServerError, addressOf, clearTheWay, peaks } from "./api.js";
import { h } from "./dom.js";
import { Player } from "./player.js";
import { RegionEditor } from "./region_editor.js";
import { stretchAround, stretchBeside, ticksOf } from "./stretch.js";
import { clock, plain } from "./text.js";

/**
 * @typedef {import("./stretch.js").Stretch} Stretch
 *
 * @typedef {object} Seen
 * @property {"sound" | "upload"} kind
 * @property {string} id
 * @property {string} name as it is said
 * @property {number} duration_s
 * @property {Stretch} span what of it is meant
 */

const PIXELS_PER_TICK = 110; // room for two labels, one on either side of its tick
const ENDED_S = 0.05; // nearer to the end of a span, it is over

/** @type {Set<SoundView>} those on the page */
const views = new Set();
window.addEventListener("recolour", () => views.forEach((view) => view.recolour()));

export class SoundView {
  /**
   * @param {Seen} seen
   * @param {(region: Stretch) => void} searchRegion
   * @param {Element[]} buttons more of them, after "Play"
   */
  constructor(seen, searchRegion, buttons = []) {
    this.seen = seen;
    this.stretch = stretchAround(seen.duration_s, seen.span);
    /** @type {Player | null} */
    this.player = null;
    /** @type {Promise<void> | null} */
    this._loading = null;
    this._gone = new AbortController();

    this._picture = h("img", { class: "spectrogram", alt: "", hidden: true });
    this._shade = h("div", { class: "span" });
    this._mount = h("div", { class: "waveform", role: "img" });
    this._message = h("p", { class: "wave-message", role: "status" });
    this._wave = h(
      "div",
      { class: "wave", "aria-busy": "true" },
      this._picture,
      this._shade,
      this._mount,
      this._message,
    );
    this._axis = h("div", { class: "axis", "aria-hidden": "true" });
    this._resized = new ResizeObserver(() => this._drawAxis());
    this._resized.observe(this._axis);
    this._playButton = h("button", { type: "button", class: "play", onclick: () => this.toggle() });
    this._time = h("span", { class: "time" });
    this._earlier = h("button", { type: "button", onclick: () => this._turn(-1) }, "← Earlier");
    this._later = h("button", { type: "button", onclick: () => this._turn(1) }, "Later →");
    const regionButton = h("button", { type: "button", "aria-expanded": "false" }, "Region…");
    this._editor = new RegionEditor(seen, regionButton, {
      onChange: (region) => this.player?.mark(region),
      onPlay: (region) => void this._playRegion(region),
      onSearch: searchRegion,
    });
    this.element = h(
      "div",
      { class: "sound" },
      this._wave,
      this._axis,
      h(
        "div",
        { class: "controls" },
        this._playButton,
        this._time,
        ...(this._showsAll ? [] : [h("span", { class: "pager" }, this._earlier, this._later)]),
        h("span", { class: "spring" }),
        regionButton,
        ...buttons,
      ),
      this._editor.element,
    );
    this._setPlaying(false);
    this._setStretch(this.stretch);
    views.add(this);
  }

  get _showsAll() {
    return this.stretch.end_s - this.stretch.start_s >= this.seen.duration_s;
  }

  /** Fetches what is to be seen, once. */
  load() {
    this._loading ??= this._fetch();
    return this._loading;
  }

  /** Plays what is meant of the sound, or goes on with it, or pauses it. */
  async toggle() {
    if (this.player?.isPlaying) return this.player.pause();
    const { start_s, end_s } = this.seen.span;
    await this._ready();
    if (!this.player) return;
    const time_s = this.player.time_s;
    const isWithin = time_s > start_s && time_s < end_s - ENDED_S;
    if (isWithin) await this.player.resume(end_s);
    else await this.player.play(start_s, end_s);
  }

  /** From where what is meant begins, and on. */
  async playOn() {
    await this._ready();
    await this.player?.play(this.seen.span.start_s);
  }

  /** @param {number} by_s */
  async seek(by_s) {
    await this.load();
    this.player?.seek(by_s);
  }

  recolour() {
    this.player?.recolour();
  }

  destroy() {
    views.delete(this);
    this._gone.abort();
    this._resized.disconnect();
    this.player?.destroy();
    this.player = null;
  }

  /** What is meant must be within what is shown. */
  async _ready() {
    const { start_s } = this.seen.span;
    if (start_s < this.stretch.start_s || start_s >= this.stretch.end_s)
      this._setStretch(stretchAround(this.seen.duration_s, this.seen.span));
    await this.load();
  }

  /** @param {Stretch} region */
  async _playRegion(region) {
    if (region.start_s < this.stretch.start_s || region.end_s > this.stretch.end_s)
      this._setStretch(stretchAround(this.seen.duration_s, region));
    await this.load();
    await this.player?.play(region.start_s, region.end_s);
  }

  /** @param {1 | -1} direction */
  async _turn(direction) {
    this._setStretch(stretchBeside(this.seen.duration_s, this.stretch, direction));
    await this.load();
  }

  /** @param {Stretch} stretch */
  _setStretch(stretch) {
    const { duration_s, span, name } = this.seen;
    this.stretch = stretch;
    this._loading = null;
    this.player?.destroy();
    this.player = null;
    this._mount.replaceChildren();
    this._picture.hidden = true;
    this._message.textContent = "";
    this._earlier.disabled = stretch.start_s <= 0;
    this._later.disabled = stretch.end_s >= duration_s;
    this._tellTime(span.start_s);

    const length_s = stretch.end_s - stretch.start_s || 1;
    const place = (/** @type {number} */ time_s) =>
      Math.min(Math.max((time_s - stretch.start_s) / length_s, 0), 1) * 100;
    const [left, right] = [place(span.start_s), place(span.end_s)];
    this._shade.hidden = right <= left;
    this._shade.style.left = `${left}%`;
    this._shade.style.width = `${right - left}%`;
    this._shade.classList.toggle("begins", left > 0);
    this._shade.classList.toggle("ends", right < 100);
    const heard = `${clock(stretch.start_s)} to ${clock(stretch.end_s)}`;
    const found = `${clock(span.start_s)} to ${clock(span.end_s)}`;
    this._mount.setAttribute(
      "aria-label",
      `Waveform and spectrogram of ${name}, ${heard} of ${clock(duration_s)}; marked: ${found}`,
    );
    this._drawAxis();
  }

  _drawAxis() {
    const width = this._axis.clientWidth;
    if (!width) return; // not on the page yet: once it is, its size changes
    const length_s = this.stretch.end_s - this.stretch.start_s;
    const ticks = ticksOf(this.stretch, Math.max(2, Math.floor(width / PIXELS_PER_TICK)));
    this._axis.replaceChildren(
      ...ticks.map((time_s) => {
        const left = ((time_s - this.stretch.start_s) / length_s) * width;
        // A label that would be cut off stands before its tick, where there is room for it.
        const isLast = width - left < PIXELS_PER_TICK / 2;
        const tick = h("span", { class: isLast ? "tick last" : "tick" }, clock(time_s));
        tick.style.left = `${(left / width) * 100}%`;
        return tick;
      }),
    );
  }

  async _fetch() {
    const { stretch, seen } = this;
    const part = this._showsAll ? null : stretch;
    this._wave.setAttribute("aria-busy", "true");
    this._message.textContent = "";
    try {
      const shape = await peaks(seen, part, { signal: this._gone.signal });
      if (this.stretch !== stretch) return; // turned on meanwhile
      this._picture.onload = () => (this._picture.hidden = false);
      this._picture.src = addressOf(seen, "spectrogram.png", part);
      const player = new Player(this._mount, seen, shape, stretch, part === null, seen.span.start_s, {
        onPlaying: (playing) => this._setPlaying(playing),
        onTime: (time_s) => this._tellTime(time_s),
        onRegion: (region) => this._editor.show(region),
        onFailure: (address) => void this._retry(player, address),
      });
      this.player = player;
      if (this._editor.region) player.mark(this._editor.region);
    } catch (error) {
      if (this._gone.signal.aborted || this.stretch !== stretch) return;
      this._loading = null; // it may go better the next time
      this._say(error);
    } finally {
      this._wave.removeAttribute("aria-busy");
    }
  }

  /**
   * The browser could not play something: once what was in the way is gone, it may try again.
   *
   * @param {Player} player
   * @param {string} address
   */
  async _retry(player, address) {
    const onBusy = () => (this._message.textContent = "The server is busy; it is asked again.");
    try {
      if (!(await clearTheWay(address, { signal: this._gone.signal, onBusy })))
        throw new ServerError("This browser can't play it.");
      if (this.player === player) await player.again();
    } catch (error) {
      if (this.player === player) this._say(error);
    }
  }

  /** @param {unknown} error */
  _say(error) {
    const told = error instanceof ServerError ? [error.message, error.hint] : [String(error)];
    this._message.textContent = plain(told.filter(Boolean).join("; "));
  }

  /** @param {boolean} playing */
  _setPlaying(playing) {
    if (playing) this._message.textContent = "";
    this.element.classList.toggle("playing", playing);
    this._playButton.textContent = playing ? "Pause" : "Play";
  }

  /** @param {number} time_s */
  _tellTime(time_s) {
    this._time.textContent = `${clock(time_s)} / ${clock(this.seen.duration_s)}`;
  }
}
