/**
 * A stretch of a sound, seen and heard. Times are those of the file, wherever the stretch begins.
 * At most one player of the page sounds.
 */
import WaveSurfer from "./vendor/wavesurfer.esm.js";
import RegionsPlugin from "./vendor/regions.esm.js";
import { addressOf } from "./api.js";

/**
 * @typedef {import("./stretch.js").Stretch} Stretch
 *
 * @typedef {object} Listeners
 * @property {(playing: boolean) => void} onPlaying
 * @property {(time_s: number) => void} onTime
 * @property {(region: Stretch) => void} onRegion a region was drawn, moved or resized
 * @property {(address: string) => void} onFailure the browser can't play what is there
 */

const SHORTEST_REGION_S = 0.05;

/** @type {Player | null} */
let sounding = null;

export class Player {
  /**
   * @param {HTMLElement} mount coloured by --wave, --cursor and --region
   * @param {{kind: "sound" | "upload", id: string}} sound
   * @param {import("./api.js").Peaks} peaks
   * @param {Stretch} stretch what of the sound is shown
   * @param {boolean} isWhole whether that is all of it
   * @param {number} from_s where it stands at first, of the file
   * @param {Listeners} listeners
   */
  constructor(mount, sound, peaks, stretch, isWhole, from_s, listeners) {
    this.stretch = stretch;
    this._mount = mount;
    this._listeners = listeners;
    /** @type {number | null} where to stop by itself, of the file */
    this._stopAt = null;
    /** @type {any} */
    this._region = null;
    this._isSilent = false;

    const address = addressOf(sound, "audio", isWhole ? null : stretch);
    this._audio = document.createElement("audio");
    this._audio.preload = "none"; // nothing is fetched before it is played
    this._audio.addEventListener("play", () => this._plays());
    this._audio.addEventListener("pause", () => listeners.onPlaying(false));
    this._audio.addEventListener("error", () => {
      if (!this._audio.getAttribute("src")) return;
      this._audio.pause(); // it would pass for playing
      listeners.onFailure(address);
    });

    this._wave = WaveSurfer.create({
      ...colours(mount),
      container: mount,
      height: "auto",
      cursorWidth: 2,
      barWidth: 2,
      barGap: 1,
      barRadius: 2,
      media: this._audio,
      url: address,
      peaks: [peaks.max, peaks.min],
      duration: stretch.end_s - stretch.start_s,
      normalize: true,
      maxPeak: loudest(peaks),
      autoScroll: false,
      hideScrollbar: true,
      cspNonce: nonce(),
    });
    this._wave.on("timeupdate", (time_s) => this._at(this.stretch.start_s + time_s));
    this._wave.on("interaction", () => {
      this._stopAt = null;
      void this._start();
    });
    this._wave.on("error", () => {}); // the audio element tells it, too
    this._wave.once("ready", () => this._wave.setTime(this._local(from_s)));

    this._regions = this._wave.registerPlugin(RegionsPlugin.create());
    this._regions.enableDragSelection({ color: colour(mount, "--region"), minLength: SHORTEST_REGION_S }, 4);
    this._regions.on("region-created", (region) => this._drawn(region));
    this._regions.on("region-updated", () => this._tellRegion());
  }

  /** @returns {number} of the file */
  get time_s() {
    return this.stretch.start_s + this._wave.getCurrentTime();
  }

  /** @returns {boolean} */
  get isPlaying() {
    return !this._audio.paused;
  }

  /**
   * @param {number} from_s of the file
   * @param {number | null} to_s where to stop; null: at the end of the stretch
   */
  async play(from_s, to_s = null) {
    this._wave.setTime(this._local(from_s));
    this._stopAt = to_s;
    await this._start();
  }

  /** From where it is.
   * @param {number | null} to_s
   */
  async resume(to_s = null) {
    this._stopAt = to_s;
    await this._start();
  }

  /** What failed, once more, from where it stood; unless something else was played since. */
  async again() {
    if (sounding === this && !this.isPlaying) await this._start();
  }

  pause() {
    this._audio.pause();
  }

  /**
   * @param {number} by_s
   */
  seek(by_s) {
    this._stopAt = null;
    this._wave.setTime(this._local(this.time_s + by_s));
  }

  /**
   * Marks a region, in place of the one that was.
   *
   * @param {Stretch | null} region null: none
   */
  mark(region) {
    this._silently(() => {
      this._region?.remove();
      this._region = null;
      if (region === null) return;
      const [start, end] = [this._local(region.start_s), this._local(region.end_s)];
      if (end <= start) return; // it lies outside of what is shown
      this._regions.addRegion({
        start,
        end,
        color: colour(this._mount, "--region"),
        minLength: SHORTEST_REGION_S,
      });
    });
  }

  /** After the colours of the page changed. */
  recolour() {
    this._wave.setOptions(colours(this._mount));
    this._region?.setOptions({ color: colour(this._mount, "--region") });
  }

  destroy() {
    if (sounding === this) sounding = null;
    this._audio.pause();
    this._wave.destroy();
    this._audio.removeAttribute("src");
    this._audio.load();
  }

  async _start() {
    if (this._audio.error) this._reload();
    try {
      await this._wave.play();
    } catch (error) {
      // Browsers play nothing before the first click on a page. The audio element tells the rest.
      if (!(error instanceof DOMException)) throw error;
      this._listeners.onPlaying(false);
    }
  }

  /** An audio element that failed once gives up; loading forgets where it stood. */
  _reload() {
    const time_s = this._wave.getCurrentTime();
    this._audio.load();
    this._wave.setTime(time_s);
  }

  _plays() {
    if (sounding !== this) sounding?.pause();
    sounding = this;
    this._listeners.onPlaying(true);
  }

  /** @param {number} time_s of the file */
  _at(time_s) {
    if (this._stopAt !== null && this.isPlaying && time_s >= this._stopAt) {
      this._stopAt = null;
      this.pause();
    }
    this._listeners.onTime(time_s);
  }

  /** @param {any} region of the regions plugin */
  _drawn(region) {
    if (this._region && this._region !== region) this._region.remove();
    this._region = region;
    for (const handle of region.element?.children ?? []) handle.style.borderColor = "currentColor";
    this._tellRegion();
  }

  _tellRegion() {
    if (this._isSilent || !this._region) return;
    const start_s = this.stretch.start_s + this._region.start;
    this._listeners.onRegion({ start_s, end_s: this.stretch.start_s + this._region.end });
  }

  /** @param {() => void} change */
  _silently(change) {
    this._isSilent = true;
    change();
    this._isSilent = false;
  }

  /**
   * @param {number} time_s of the file
   * @returns {number} of the stretch
   */
  _local(time_s) {
    const length_s = this.stretch.end_s - this.stretch.start_s;
    return Math.min(Math.max(time_s - this.stretch.start_s, 0), length_s);
  }
}

/**
 * Colours that a canvas understands, resolved from the style sheet.
 *
 * @param {HTMLElement} mount
 */
function colours(mount) {
  return {
    waveColor: colour(mount, "--wave"),
    progressColor: colour(mount, "--wave"), // the cursor alone says where it is
    cursorColor: colour(mount, "--cursor"),
  };
}

/**
 * @param {HTMLElement} mount
 * @param {string} property registered as a colour, so that it is computed to one
 * @returns {string}
 */
function colour(mount, property) {
  return getComputedStyle(mount).getPropertyValue(property);
}

/**
 * @param {import("./api.js").Peaks} peaks
 * @returns {number} at least a little, so that silence stays flat
 */
function loudest(peaks) {
  return Math.max(0.02, ...peaks.max.map(Math.abs), ...peaks.min.map(Math.abs));
}

/** @returns {string} what the server allows the style sheet of the waveform by */
function nonce() {
  const meta = document.querySelector('meta[name="csp-nonce"]');
  return meta?.getAttribute("content") ?? "";
}
