/** The pauses between attempts. */

/** @import {SignalingError} from "./errors.js" */

/**
 * @param {number} milliseconds
 * @returns {Promise<void>}
 */
export const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Exponential backoff with jitter, so that the clients of a restarted server do not all reconnect at once. */
export class Backoff {
  /** Since the last good one. */
  attempts = 0;
  #notBefore = 0;
  #first;
  #most;

  /**
   * @param {number} first milliseconds before the second attempt
   * @param {number} most milliseconds between any two
   */
  constructor(first, most) {
    this.#first = first;
    this.#most = most;
  }

  /**
   * The server may want to hear nothing for a while.
   * @param {unknown} error perhaps a SignalingError
   */
  rest(error) {
    const milliseconds = /** @type {SignalingError | null} */ (error)?.details?.["retry_after_ms"];
    if (typeof milliseconds === "number") this.#notBefore = Math.max(this.#notBefore, Date.now() + milliseconds);
  }

  /**
   * Returns the milliseconds to wait for the next attempt.
   * @param {number} [atOnce] the most before the first one after a reset
   */
  next(atOnce = 0) {
    const pause = Math.min(this.#most, this.#first * 2 ** (this.attempts - 1));
    const delay = this.attempts === 0 ? Math.random() * atOnce : (0.5 + Math.random() / 2) * pause;
    this.attempts++;
    return Math.max(0, this.#notBefore - Date.now()) + delay;
  }
}

/**
 * Waits for a promise until the signal is aborted.
 * @template Value
 * @param {Promise<Value>} promise
 * @param {AbortSignal} [signal]
 * @returns {Promise<Value>} rejected with the reason of the signal
 */
export const unlessAborted = (promise, signal) =>
  new Promise((resolve, reject) => {
    const abort = () => reject(signal?.reason);
    if (signal?.aborted) abort();
    signal?.addEventListener("abort", abort);
    promise.then(resolve, reject).finally(() => signal?.removeEventListener("abort", abort));
  });
