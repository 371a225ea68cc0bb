/**
 * The list of answers. One of them is the current one: it has the list's place in the tab order, and
 * keys act on it. Waveforms are fetched once they come near the window.
 */
import { HitCard } from "./hit.js";

/**
 * @typedef {import("./api.js").Hit} Hit
 */

const NEAR = "400px";

export class Results {
  /**
   * @param {HTMLElement} list
   * @param {import("./hit.js").HitActions} actions
   */
  constructor(list, actions) {
    this._list = list;
    this._actions = actions;
    /** @type {HitCard[]} */
    this.cards = [];
    this._current = 0;
    this._watcher = new IntersectionObserver((entries) => this._near(entries), { rootMargin: NEAR });
    list.addEventListener("focusin", (event) => this._focused(event));
  }

  /** @returns {HitCard | undefined} */
  get current() {
    return this.cards[this._current];
  }

  /**
   * In place of what was there. Cards of hits that come again, at their place, stay as they are.
   *
   * @param {Hit[]} hits
   */
  show(hits) {
    const hadFocus = this._list.contains(document.activeElement);
    const cards = hits.map((hit, i) => {
      const old = this.cards[i];
      if (old && JSON.stringify(old.hit) === JSON.stringify(hit)) return old;
      return new HitCard(hit, this._actions);
    });
    for (const card of this.cards) if (!cards.includes(card)) this._remove(card);
    for (const card of cards) {
      if (!card.element.isConnected) this._watcher.observe(card.element);
      this._list.append(card.element);
    }
    this.cards = cards;
    this._makeCurrent(0);
    // Whoever asked from the list, as for more like this, goes on in it.
    if (hadFocus && !this._list.contains(document.activeElement))
      this.current?.element.focus({ preventScroll: true });
  }

  /** @param {number} by how many hits further down */
  move(by) {
    if (!this.cards.length) return;
    const isInside = this._list.contains(document.activeElement);
    this.focus(isInside ? this._current + by : this._current);
  }

  /** @param {number} index */
  focus(index) {
    this._makeCurrent(Math.min(Math.max(index, 0), this.cards.length - 1));
    this.current?.element.focus({ preventScroll: true });
    this.current?.element.scrollIntoView({ block: "nearest" });
  }

  /** @param {number} index */
  _makeCurrent(index) {
    this._current = index;
    this.cards.forEach((card, i) => (card.element.tabIndex = i === index ? 0 : -1));
  }

  /** @param {FocusEvent} event */
  _focused(event) {
    const index = this.cards.findIndex((card) => card.element.contains(/** @type {Node} */ (event.target)));
    if (index >= 0) this._makeCurrent(index);
  }

  /** @param {IntersectionObserverEntry[]} entries */
  _near(entries) {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      this._watcher.unobserve(target);
      void this.cards.find((card) => card.element === target)?.view.load();
    }
  }

  /** @param {HitCard} card */
  _remove(card) {
    this._watcher.unobserve(card.element);
    card.destroy();
    card.element.remove();
  }
}
