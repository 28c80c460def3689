/** Whether a pair is connected, since when it is not, and why. */

/** @import {Reason} from "./diagnosis.js" */

/** @typedef {"connecting" | "connected" | "healing" | "failed"} State */

// Durations are in milliseconds.
const PATIENCE = 4500; // until the application is told that the pair has failed
const NOTICED_WITHIN = 3500; // a pair is noticed to be broken; longer is only the clock that went on during sleep

export class PairState {
  /** @type {State} */
  value = "connecting";
  /** @type {Reason | null} */
  reason = null;
  /** When it began, or broke; of performance.now(). */
  since = performance.now();
  wasConnected = false;
  #overdue;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /** @param {() => void} overdue called if it is not connected in time */
  constructor(overdue) {
    this.#overdue = overdue;
    this.#expect();
  }

  /**
   * Notes that it is connected.
   * @returns {{outcome: "connected" | "healed", milliseconds: number} | null} null if it was
   */
  connect() {
    if (this.value === "connected") return null;
    const outcome = this.wasConnected ? "healed" : "connected";
    const milliseconds = Math.round(performance.now() - this.since);
    this.value = "connected";
    this.reason = null;
    this.wasConnected = true;
    this.stop();
    return {outcome, milliseconds};
  }

  /**
   * Notes that it broke.
   * @param {number} since
   * @returns {boolean} whether it was connected
   */
  breakOff(since) {
    if (this.value !== "connected") return false;
    this.value = "healing";
    this.since = Math.max(since, performance.now() - NOTICED_WITHIN);
    this.#expect();
    return true;
  }

  /**
   * Notes why it is not connected.
   * @param {Reason} reason
   * @returns {"failed" | "explained" | null} whether it fails now, or for another reason than before, or neither
   */
  fail(reason) {
    if (this.value === "connected" || reason === this.reason) return null;
    const first = this.value !== "failed";
    this.value = "failed";
    this.reason = reason;
    return first ? "failed" : "explained";
  }

  stop() {
    clearTimeout(this.#timer);
  }

  #expect() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(this.#overdue, this.since + PATIENCE - performance.now());
  }
}
