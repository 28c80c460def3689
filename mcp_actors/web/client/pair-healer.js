/** What heals a pair: a restart of ICE, another connection, or the other side. See "Who heals" in PROTOCOL.md. */

import {dtlsHasEnded} from "./diagnosis.js";
import {Healing} from "./healing.js";

/** @import {CallContext} from "./pair.js" */
/** @import {Negotiation} from "./negotiation.js" */
/** @import {OtherSide} from "./other-side.js" */
/** @import {PairState} from "./pair-state.js" */

// Durations are in milliseconds.
const RESTART_WAITS = 1500; // after a description was set: ICE is checking
const FOREIGN_HEALS = 5000; // how long a polite peer without the heartbeat is left to heal
const MIN_ASK = 1000; // between attempts that the other side asks for

/**
 * @typedef {object} Patient what the healer needs of its pair
 * @property {CallContext} call
 * @property {string} peerId
 * @property {PairState} state
 * @property {Negotiation} negotiation
 * @property {OtherSide} other
 * @property {() => boolean} isPolite
 * @property {() => boolean} isAway
 * @property {() => boolean} needsRelay whether media went over a TURN server, or one has refused a request
 * @property {() => boolean} channelsAreClosed
 * @property {() => void} onAttempt called before each attempt
 * @property {() => void} onQueued a message waits for the other side
 */

export class PairHealer {
  #its;
  #healing;
  #attemptedAt = -Infinity;
  #closed = false;

  /** @param {Patient} patient */
  constructor(patient) {
    this.#its = patient;
    this.#healing = new Healing({
      readiness: () => this.#readiness(),
      role: () => this.#role(),
      mustReplace: () => this.#mustReplace(),
      restart: () => void this.#restart(),
      replace: () => this.#replace(),
      ask: (replace) => void this.#ask(replace),
    });
  }

  /**
   * Begins to make attempts, at once or after a pause.
   * @param {number} [pause] milliseconds
   */
  begin(pause) {
    this.#healing.begin(pause);
  }

  /** Leaves time for a negotiation that has begun. */
  beginLater() {
    this.#healing.begin(RESTART_WAITS);
  }

  /** Makes the next attempt as soon as possible; `replace`: with another connection. */
  hurry(replace = false) {
    this.#healing.hurry(replace);
  }

  end() {
    this.#healing.end();
  }

  close() {
    this.#closed = true;
    this.#healing.end();
  }

  /**
   * The other side asks for an attempt, or for another connection.
   * @param {boolean} replace
   */
  obey(replace) {
    const {state, negotiation, isPolite} = this.#its;
    if (!isPolite() || performance.now() - this.#attemptedAt < MIN_ASK) return;
    const isLate = replace && !negotiation.begun; // it was not there yet when this side offered
    if (isLate) this.#replace();
    else if (negotiation.unanswered) return;
    else if (state.value !== "connected") this.#healing.hurry(replace);
    else if (replace || this.#mustReplace()) this.#replace();
    else void this.#restart();
  }

  #readiness() {
    const {call, other, negotiation, isAway} = this.#its;
    if (!call.isSignaling()) call.hurrySignaling();
    if (!call.isSignaling() || isAway()) return "blocked";
    if (negotiation.unanswered) return "unanswered";
    return performance.now() - other.describedAt < RESTART_WAITS ? "blocked" : "ready";
  }

  #role() {
    const {state, other, negotiation, isPolite, onAttempt} = this.#its;
    onAttempt();
    if (isPolite()) return "offer";
    if (other.isCall) return "ask";
    return negotiation.begun && performance.now() - state.since > FOREIGN_HEALS ? "offer" : "wait";
  }

  #mustReplace() {
    const {other, negotiation, channelsAreClosed} = this.#its;
    return other.cannotRestart || channelsAreClosed() || dtlsHasEnded(negotiation.pc);
  }

  async #restart() {
    const {pc} = this.#its.negotiation;
    this.#attemptedAt = performance.now();
    if (this.#its.needsRelay()) await this.#its.call.renewIceServers();
    if (pc === this.#its.negotiation.pc && !this.#closed) pc.restartIce();
  }

  #replace() {
    this.#attemptedAt = performance.now();
    if (this.#its.needsRelay()) void this.#its.call.renewIceServers();
    this.#its.negotiation.offer();
  }

  /** @param {boolean} replace */
  async #ask(replace) {
    const {call, peerId, needsRelay, onQueued} = this.#its;
    if (needsRelay()) void call.renewIceServers();
    const delivery = await call.room.signal(peerId, {callHeal: {replace}}).catch(() => null);
    if (delivery?.status === "queued" && !this.#closed) onQueued();
  }
}
