/** Sends a ping when nothing has arrived for an interval, and tells of a connection on which nothing arrives after that. */

// Durations are in milliseconds.
const LATE = 1000; // a timer that fires later than this was held up, as in a background tab

/** How long an answer may take when there is a reason to doubt that the connection works. */
export const PROBE_TIMEOUT = 2000;

export class Heartbeat {
  heardAt = performance.now();
  #interval = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #due = 0;
  #unanswered = 0;
  #ping;
  #onDead;

  /**
   * @param {() => void} ping
   * @param {() => void} onDead
   */
  constructor(ping, onDead) {
    this.#ping = ping;
    this.#onDead = onDead;
  }

  /** Notes that something has arrived. */
  heard() {
    this.heardAt = performance.now();
    this.#unanswered = 0;
  }

  /** @param {number} interval the silence before a ping; 0 for no heartbeat */
  start(interval) {
    this.#interval = interval;
    if (!interval) this.stop();
    else if (!this.#timer) this.#wait(interval);
  }

  stop() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#unanswered = 0;
  }

  /** Asks at once, because the network has changed or the computer was asleep, and does not wait long for the answer. */
  probe() {
    if (this.#timer && !this.#unanswered) this.#ask(PROBE_TIMEOUT);
  }

  /** @param {number} duration */
  #wait(duration) {
    clearTimeout(this.#timer);
    this.#due = performance.now() + duration;
    this.#timer = setTimeout(() => this.#check(), duration);
  }

  /** @param {number} patience */
  #ask(patience) {
    this.#unanswered++;
    this.#ping();
    this.#wait(Math.min(patience, this.#interval));
  }

  #check() {
    const now = performance.now();
    const silence = now - this.heardAt;
    // Behind a late timer the answer may still wait to be handled: it takes a second ping to be sure.
    const late = now - this.#due > LATE;
    if (this.#unanswered > (late ? 1 : 0)) this.#dead();
    else if (this.#unanswered || silence >= this.#interval) this.#ask(late ? PROBE_TIMEOUT : this.#interval);
    else this.#wait(this.#interval - silence);
  }

  #dead() {
    this.stop();
    this.#onDead();
  }
}
