/** Attempts to heal a broken pair, until they are ended. See "Who heals" in PROTOCOL.md. */

// Durations are in milliseconds.
const PAUSES = [2000, 2000, 3000, 4000, 6000, 8000]; // after each attempt; the last one again and again
const BLOCKED = 500; // between looks at what is in the way of an attempt
const MAX_UNANSWERED = 10_000; // for an offer, while nothing else is in the way
const MAX_RESTARTS = 4; // in vain, before a new connection

/**
 * @typedef {object} Healer
 * @property {() => "ready" | "blocked" | "unanswered"} readiness whether an attempt may be made, or why not; "unanswered": this
 *   side's offer has no answer
 * @property {() => "offer" | "ask" | "wait"} role what this side does
 * @property {() => boolean} mustReplace whether a restart of ICE cannot help
 * @property {() => void} restart restarts ICE
 * @property {() => void} replace offers from a new RTCPeerConnection
 * @property {(replace: boolean) => void} ask asks the other side to do so
 */

export class Healing {
  #healer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #attempts = 0;
  #restarts = 0;
  #replace = false;
  #unansweredSince = Infinity;

  /** @param {Healer} healer */
  constructor(healer) {
    this.#healer = healer;
  }

  get running() {
    return this.#timer !== undefined;
  }

  /**
   * Begins, with an attempt at once or after a pause.
   * @param {number} [pause]
   */
  begin(pause = 0) {
    if (this.running) return;
    this.#attempts = this.#restarts = 0;
    this.#unansweredSince = Infinity;
    this.#replace = false;
    this.#wait(pause);
  }

  /** Makes the next attempt as soon as possible; `replace`: only another connection helps. */
  hurry(replace = false) {
    this.#replace ||= replace;
    if (this.running) this.#look();
    else this.begin();
  }

  end() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** @param {number} pause */
  #wait(pause) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#look(), pause);
  }

  #look() {
    const readiness = this.#healer.readiness();
    const now = performance.now();
    this.#unansweredSince = readiness === "unanswered" ? Math.min(this.#unansweredSince, now) : Infinity;
    if (now - this.#unansweredSince > MAX_UNANSWERED) this.#replace = true;
    else if (readiness !== "ready") return this.#wait(BLOCKED);
    this.#unansweredSince = Infinity;
    this.#wait(PAUSES[Math.min(this.#attempts++, PAUSES.length - 1)] ?? BLOCKED);
    this.#attempt();
  }

  #attempt() {
    const {role, mustReplace, restart, replace, ask} = this.#healer;
    const needsReplacement = this.#replace || mustReplace() || this.#restarts >= MAX_RESTARTS;
    const does = role();
    if (does === "wait") return;
    this.#replace = false;
    if (does === "ask") return ask(needsReplacement);
    this.#restarts = needsReplacement ? 0 : this.#restarts + 1;
    if (needsReplacement) replace();
    else restart();
  }
}
