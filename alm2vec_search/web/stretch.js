/**
 * What is shown of a sound: all of it if it is short, else a minute around what was found.
 */

/** @typedef {{start_s: number, end_s: number}} Stretch */

export const WHOLE_UP_TO_S = 120;
export const SHOWN_S = 60;

/**
 * @param {number} duration_s of the sound
 * @param {Stretch} span what was found in it
 * @returns {Stretch}
 */
export function stretchAround(duration_s, span) {
  if (duration_s <= WHOLE_UP_TO_S) return { start_s: 0, end_s: duration_s };
  const found_s = span.end_s - span.start_s;
  const length_s = Math.min(Math.max(SHOWN_S, found_s * 1.2), WHOLE_UP_TO_S);
  // The beginning of what was found is always in it.
  const lead_s = Math.max((length_s - found_s) / 2, 0);
  return within(duration_s, span.start_s - lead_s, length_s);
}

/**
 * The next one, half overlapping, so that nothing is cut in two for good.
 *
 * @param {number} duration_s of the sound
 * @param {Stretch} stretch
 * @param {1 | -1} direction 1: later
 * @returns {Stretch}
 */
export function stretchBeside(duration_s, stretch, direction) {
  const length_s = stretch.end_s - stretch.start_s;
  return within(duration_s, stretch.start_s + (direction * length_s) / 2, length_s);
}

/**
 * Where the ticks of a time axis stand.
 *
 * @param {Stretch} stretch
 * @param {number} most how many there is room for
 * @returns {number[]} seconds
 */
export function ticksOf(stretch, most) {
  const length_s = stretch.end_s - stretch.start_s;
  const steps_s = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60];
  const step_s = steps_s.find((step) => length_s / step <= most) ?? 60;
  const first = Math.ceil(stretch.start_s / step_s - 1e-9);
  const last = Math.floor(stretch.end_s / step_s + 1e-9);
  return Array.from({ length: Math.max(last - first + 1, 0) }, (_, i) => (first + i) * step_s);
}

/**
 * @param {number} duration_s
 * @param {number} start_s
 * @param {number} length_s
 * @returns {Stretch}
 */
function within(duration_s, start_s, length_s) {
  const length = Math.min(length_s, duration_s);
  const start = Math.min(Math.max(start_s, 0), duration_s - length);
  return { start_s: start, end_s: start + length };
}
