/** Perfect negotiation with one other peer, over as many RTCPeerConnections as it takes. */

import {deliver} from "./delivery.js";
import {hasDataChannels, originOf, sessionOf, ufragOf, withHeartbeat} from "./sdp.js";

/**
 * @typedef {import("./sdp.js").Description} Description
 * @typedef {{code: string, message?: string}} Problem
 * @typedef {{last: number, applied: number}} OfferNumbers the peer's last offer, and the offer whose description is set
 * @typedef {object} Received
 * @property {"offer" | "answer" | "ice-candidate"} kind
 * @property {RTCSessionDescriptionInit & RTCIceCandidateInit | null} value
 * @property {number | undefined} negotiation
 * @property {OfferNumbers} offers
 * @property {RTCPeerConnection} pc the current one when the message arrived
 */

/**
 * @typedef {object} Negotiator what a negotiation needs of its pair
 * @property {string} peerId
 * @property {Pick<import("./index.js").Room, "offer" | "answer" | "candidate" | "signal">} signals
 * @property {() => boolean} isPolite
 * @property {() => RTCPeerConnection} open makes an RTCPeerConnection, the first one or one that replaces another
 * @property {(pc: RTCPeerConnection, offer: Description | null) => void} attach adds what this side sends: before its first
 *   offer, or before it answers `offer`
 * @property {(problem: Problem | null) => void} onProblem the server has refused a description, or one has arrived
 * @property {() => void} onQueued a description waits for a peer that is away
 * @property {(description: Description, restartIgnored: boolean) => void} onNegotiated a description of the other side is set
 */

const MAX_HELD_CANDIDATES = 100;
const MAX_WAITING = 1000; // messages of a peer that wait for those before them
const REPLACED = Symbol("the RTCPeerConnection was replaced");

export class Negotiation {
  #its;
  #queue = Promise.resolve();
  #waiting = 0;
  /** @type {Promise<never>} */
  #replaced = new Promise(() => {}); // rejected by `#replace` when this side starts over
  #replace = () => {};
  #attached = false;
  #offering = false;
  #ignoring = false;
  #offeredAt = Infinity;
  #closed = false;
  /** @type {Received[]} */
  #heldCandidates = [];
  /** @type {string | undefined} */
  #session;
  /** @type {OfferNumbers} */
  #offers = {last: 0, applied: 0};

  /** @param {Negotiator} negotiator */
  constructor(negotiator) {
    this.#its = negotiator;
    /** Replaced when one of the two sides starts over. */
    this.pc = this.#open();
  }

  /** Whether an offer of this side has no answer yet. */
  get unanswered() {
    return this.#offering || this.pc.signalingState === "have-local-offer";
  }

  /** For how many milliseconds an offer of this side has had no answer. */
  get unansweredFor() {
    return this.unanswered ? performance.now() - this.#offeredAt : 0;
  }

  /** Whether the other side has described itself on this connection. */
  get begun() {
    return this.#session !== undefined;
  }

  /** Makes an offer, on a new RTCPeerConnection if this one was used before. */
  offer() {
    if (this.#attached || this.#isOver) this.#reopen();
    this.#attach(null);
  }

  /** Numbers of offers start again with each join; an offer without an answer was lost, or its answer was. */
  rejoined() {
    this.#offers = {last: 0, applied: 0};
    if (!this.begun && this.#attached && !this.#its.isPolite()) this.#reopen(); // else the other's offer would be ignored
    else if (this.begun && this.pc.signalingState === "have-local-offer") void this.#describe("offer");
  }

  /**
   * Handles a description or candidate of the peer, one after the other; `negotiation` is the number of the offer.
   * @param {Received["kind"]} kind
   * @param {Received["value"]} value
   * @param {number} [negotiation]
   */
  receive(kind, value, negotiation) {
    const offers = this.#offers;
    if (kind !== "ice-candidate") this.#its.onProblem(null);
    if (kind === "offer" && negotiation) offers.last = Math.max(offers.last, negotiation);
    this.#enqueue({kind, value, negotiation, offers, pc: this.pc});
    if (this.#isOver) this.#replace(); // what is waited for would never end
  }

  /**
   * Waits for an operation of the current RTCPeerConnection, unless that is replaced or closed meanwhile.
   * @param {Promise<void>} operation
   */
  async finish(operation) {
    try {
      await this.#unlessReplaced(operation);
    } catch (error) {
      if (error !== REPLACED && !this.#isOver) throw error;
    }
  }

  close() {
    this.#closed = true;
    this.#heldCandidates = [];
    this.#replace();
    this.pc.close();
  }

  /** Whether the application has closed the connection. */
  get #isOver() {
    return this.pc.signalingState === "closed";
  }

  #open() {
    const pc = this.#its.open();
    this.#replaced = new Promise((_, reject) => (this.#replace = () => reject(REPLACED)));
    this.#replaced.catch(() => {});
    pc.onicecandidate = ({candidate}) => void this.#sendCandidate(pc, candidate);
    pc.onnegotiationneeded = () => void this.#negotiate(pc);
    return pc;
  }

  #reopen() {
    this.pc.close();
    this.#replace();
    this.#attached = this.#offering = this.#ignoring = false;
    this.#heldCandidates = [];
    this.#session = undefined;
    this.pc = this.#open();
  }

  /** @param {Description | null} offer */
  #attach(offer) {
    this.#attached = true;
    this.#its.attach(this.pc, offer);
  }

  /** @param {RTCPeerConnection} pc */
  async #negotiate(pc) {
    try {
      this.#offering = true;
      this.#offeredAt = performance.now();
      await pc.setLocalDescription();
      if (pc === this.pc) void this.#describe(pc.localDescription?.type === "answer" ? "answer" : "offer");
    } catch (error) {
      this.#warn("No offer to", error);
    } finally {
      if (pc === this.pc) this.#offering = false;
    }
  }

  /** @param {Received} received */
  #enqueue(received) {
    if (this.#waiting === MAX_WAITING) return this.#warn("Too many messages wait of", {name: received.kind});
    this.#waiting++;
    this.#queue = this.#queue
      .then(() => this.#handle(received))
      .catch((error) => this.#warn(`The ${received.kind} was not used of`, error))
      .finally(() => this.#waiting--);
  }

  /** @param {Received} received @returns {Promise<void>} */
  async #handle(received) {
    if (this.#closed) return;
    try {
      await (received.kind === "ice-candidate" ? this.#receiveCandidate(received) : this.#receiveDescription(received));
    } catch (error) {
      if (error !== REPLACED) throw error;
      await this.#handle(received);
    }
  }

  /**
   * Waits for an operation of the current RTCPeerConnection: once that is closed, the promise would never be settled.
   * @param {Promise<void>} operation
   */
  #unlessReplaced(operation) {
    return Promise.race([operation, this.#replaced]);
  }

  /** @param {Received} received */
  async #receiveDescription({value, negotiation, offers, pc: previous}) {
    const description = /** @type {Description} */ (value);
    if (description.type === "offer" && negotiation && negotiation < offers.last) return; // a newer one is in the queue
    if (description.type === "answer" && previous !== this.pc) return; // to an offer of a replaced connection
    const session = sessionOf(description);
    if (this.#isOver || (this.#session !== undefined && session !== this.#session)) {
      // The peer has started over, so must we. An answer means that it no longer knew the connection of our offer.
      this.#reopen();
      if (description.type === "answer") return this.#attach(null);
    }
    if (!this.#yieldsTo(description)) return;
    const restartIgnored = this.#ignoresRestart(description);
    await this.#unlessReplaced(this.pc.setRemoteDescription(description)); // rolls back our own offer
    this.#session = session;
    if (negotiation) offers.applied = negotiation;
    for (const held of this.#heldCandidates.splice(0)) this.#enqueue(held);
    if (description.type === "offer") await this.#answer(description, negotiation);
    this.#its.onNegotiated(description, restartIgnored);
  }

  /** Whether a description is to be set; if both sides have offered, that of the impolite one is. @param {Description} description */
  #yieldsTo({type}) {
    const weOffer = this.#offering || this.pc.signalingState !== "stable" || (this.#attached && !this.begun);
    const glare = type === "offer" && weOffer;
    this.#ignoring = glare && !this.#its.isPolite();
    if (this.#ignoring) return false;
    if (glare && !this.begun) this.#reopen(); // rolling back a first offer would leave its transceivers behind
    return true;
  }

  /** Whether the answer to an offer that restarts ICE does not. @param {Description} description */
  #ignoresRestart(description) {
    const {currentLocalDescription, pendingLocalDescription, currentRemoteDescription} = this.pc;
    if (description.type !== "answer" || !currentRemoteDescription) return false;
    const restarted = ufragOf(currentLocalDescription) !== ufragOf(pendingLocalDescription);
    return restarted && ufragOf(currentRemoteDescription) === ufragOf(description);
  }

  /** @param {Description} offer @param {number | undefined} negotiation */
  async #answer(offer, negotiation) {
    const {pc} = this;
    if (!this.#attached) this.#attach(offer);
    await this.#unlessReplaced(pc.setLocalDescription());
    void this.#describe("answer", negotiation);
  }

  /** @param {Received} received */
  async #receiveCandidate(received) {
    const {pc} = this;
    const {value, negotiation, offers} = received;
    const candidate = /** @type {RTCIceCandidateInit | null} */ (value);
    if (negotiation && negotiation < offers.applied) return; // of an outdated description
    const generation = candidate?.usernameFragment;
    const known = pc.remoteDescription && (!generation || pc.remoteDescription.sdp.includes(`a=ice-ufrag:${generation}`));
    if (known && candidate) await this.#unlessReplaced(pc.addIceCandidate(candidate));
    else if (!known && !this.#ignoring && this.#heldCandidates.length < MAX_HELD_CANDIDATES) this.#heldCandidates.push(received);
  }

  /** @param {RTCPeerConnection} pc @param {RTCIceCandidate | null} candidate */
  #sendCandidate(pc, candidate) {
    const {signals, peerId} = this.#its;
    return deliver(() => signals.candidate(peerId, candidate), () => pc === this.pc && !this.#closed);
  }

  /**
   * Sends the local description.
   * @param {"offer" | "answer"} kind
   * @param {number} [negotiation]
   */
  async #describe(kind, negotiation) {
    const {pc} = this;
    const {signals, peerId} = this.#its;
    const local = /** @type {RTCSessionDescription} */ (pc.localDescription);
    const isWanted = () => pc === this.pc && !this.#closed && originOf(pc.localDescription) === originOf(local);
    const description = hasDataChannels(local) ? withHeartbeat(local) : {type: local.type, sdp: local.sdp};
    const {status, refusal} = await deliver(() => signals[kind](peerId, description, negotiation), isWanted);
    if (!isWanted()) return;
    if (status === "queued") this.#its.onQueued();
    this.#its.onProblem(refusal ? {code: refusal.code, message: refusal.message} : null);
    // The peer cannot know why it waits in vain.
    if (refusal) void signals.signal(peerId, {callProblem: {code: refusal.code}}).catch(() => {});
  }

  /** @param {string} what @param {unknown} error */
  #warn(what, error) {
    console.warn(`${what} ${this.#its.peerId}: ${/** @type {Error} */ (error).name}`);
  }
}
