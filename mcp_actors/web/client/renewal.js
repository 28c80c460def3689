/** Renews what the server gives for a limited time, such as the credentials of ICE servers, before that time is over. */

// Durations are in milliseconds.
const MAX_WAIT = 30_000; // a timer stands still while the computer sleeps
const RETRY_DELAY = 5_000;
// Before half of the time: what both sides of a pair have when one of them restarts ICE then lasts until the next time.
const PART = 0.4;

const now = () => ({date: Date.now(), uptime: performance.now()});

/**
 * The time since a moment: performance.now() may stand still while the computer sleeps, and Date.now() may be set back.
 * @param {{date: number, uptime: number}} moment
 */
const since = ({date, uptime}) => Math.max(Date.now() - date, performance.now() - uptime);

export class Renewal {
  #renew;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #start = now();
  #due = Infinity; // after the start
  #renewing = false;

  /** @param {() => Promise<unknown>} renew asks for the next, and calls start(); or stop(), if there will be none */
  constructor(renew) {
    this.#renew = renew;
  }

  /** Whether the end of something is being waited for. */
  get running() {
    return this.#due < Infinity;
  }

  /** @param {number} [seconds] how long that lasts which has just arrived; undefined if it does not end */
  start(seconds = Infinity) {
    this.#start = now();
    this.#wait(seconds * 1000 * PART);
  }

  stop() {
    this.#wait(Infinity);
  }

  /** Renews at once if it is time to. */
  check() {
    clearTimeout(this.#timer);
    const left = this.#due - since(this.#start);
    if (left <= 0) this.#renewNow();
    else if (left < Infinity) this.#timer = setTimeout(() => this.check(), Math.min(left, MAX_WAIT));
  }

  /** @param {number} due */
  #wait(due) {
    this.#due = due;
    this.check();
  }

  async #renewNow() {
    if (this.#renewing) return;
    this.#renewing = true;
    const started = this.#start;
    try {
      await this.#renew();
    } catch {
      // start() or stop() may have been called meanwhile.
      if (started === this.#start && this.running) this.#wait(since(started) + RETRY_DELAY);
    } finally {
      this.#renewing = false;
    }
  }
}
