/** What is known of the other side of a pair: what its software can do, and whether it hears this side. */

import {announcesHeartbeat, cannotRestart} from "./sdp.js";

/** @import {Peer} from "./index.js" */
/** @import {Description} from "./sdp.js" */

const QUEUED = 10_000; // milliseconds for which it counts as away because a message waits for it

export class OtherSide {
  /** Whether it hears and sends the heartbeat, and may be asked to heal the pair. */
  isCall = false;
  /** Whether it has said or shown that it cannot restart ICE. */
  cannotRestart = false;
  /** When it has described itself last; of performance.now(). */
  describedAt = -Infinity;
  #queuedUntil = -Infinity;
  #heard = false;

  /**
   * @param {Description} description as it came: browsers keep only the lines that they know
   * @param {boolean} restartIgnored whether it answers to a restart of ICE, and has not restarted
   */
  describe(description, restartIgnored) {
    this.isCall = announcesHeartbeat(description);
    this.cannotRestart ||= restartIgnored || cannotRestart(description);
    this.describedAt = performance.now();
  }

  /**
   * Whether it has no connection to the server: as the room says, unless something has come from it since, or because a message
   * waits for it.
   * @param {Peer | undefined} member
   */
  isAway(member) {
    return !member || (member.presence === "away" && !this.#heard) || performance.now() < this.#queuedUntil;
  }

  /** Something has come from it. */
  hear() {
    this.#heard = true;
    this.#queuedUntil = -Infinity;
  }

  /** A message waits for it. */
  queue() {
    this.#heard = false;
    this.#queuedUntil = performance.now() + QUEUED;
  }

  /** The room says anew whether it is there. */
  forget() {
    this.#heard = false;
    this.#queuedUntil = -Infinity;
  }
}
