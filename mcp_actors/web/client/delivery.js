/** Sends a description or a candidate, again if the server asks for it. */

const MAX_ATTEMPTS = 4;
const PAUSE = 500; // milliseconds before the second attempt; each further pause is as much longer

// Either the room is joined again, which restarts negotiation where necessary, or nobody waits for the message any more.
const NEEDS_NO_REACTION = new Set([
  ...["connection-lost", "unknown", "timeout", "closed", "cancelled"],
  ...["not-in-room", "peer-not-found", "stale-negotiation"],
]);

/** @import {Delivery} from "./index.js" */

/** @typedef {{code: string, message: string, retryable: boolean}} Refusal */

/**
 * @param {() => Promise<Delivery>} send
 * @param {() => boolean} isWanted whether it is worth another attempt
 * @returns {Promise<{status?: Delivery["status"], refusal?: Refusal}>} `refusal`: the error that ended the attempts, if one side
 *   should be told
 */
export async function deliver(send, isWanted) {
  for (let attempt = 1; isWanted(); attempt++) {
    try {
      return {status: (await send()).status};
    } catch (error) {
      const refusal = /** @type {Refusal} */ (error);
      if (NEEDS_NO_REACTION.has(refusal.code)) return {};
      if (!refusal.retryable || attempt === MAX_ATTEMPTS) return {refusal};
    }
    await new Promise((resolve) => setTimeout(resolve, PAUSE * attempt));
  }
  return {};
}
