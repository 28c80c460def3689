/** Repeats a question to the server while the page is visible. */

const SHARE = 0.05; // of the time, at most, that the server is kept busy with one question
const JITTER = 0.1;

export class Poll {
  #task;
  #interval;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #running = false;
  #again = false;
  #started = false;

  /** @param {() => Promise<void>} task must not throw @param {number} interval in milliseconds, at least */
  constructor(task, interval) {
    this.#task = task;
    this.#interval = interval;
    document.addEventListener("visibilitychange", () => this.#started && this.#show());
  }

  start() {
    this.#started = true;
    this.now();
  }

  stop() {
    this.#started = false;
    clearTimeout(this.#timer);
  }

  /** Asks now; if a question is on its way, again after it. */
  now() {
    if (!this.#started) return;
    if (this.#running) this.#again = true;
    else this.#run();
  }

  async #run() {
    clearTimeout(this.#timer);
    this.#running = true;
    this.#again = false;
    const began = performance.now();
    await this.#task();
    this.#running = false;
    if (!this.#started) return;
    if (this.#again) this.#run();
    else this.#plan(Math.max(this.#interval, (performance.now() - began) / SHARE));
  }

  /** @param {number} pause */
  #plan(pause) {
    if (!document.hidden) this.#timer = setTimeout(() => this.now(), pause * (1 + JITTER * (Math.random() - 0.5)));
  }

  #show() {
    if (document.hidden) clearTimeout(this.#timer);
    else this.now();
  }
}
