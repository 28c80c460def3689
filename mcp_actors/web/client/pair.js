/** This peer and another one of the room: their connection, its state, and what heals it. */

import {Channels} from "./channels.js";
import {diagnose, isTurnRefusal} from "./diagnosis.js";
import {Negotiation} from "./negotiation.js";
import {OtherSide} from "./other-side.js";
import {PairHealer} from "./pair-healer.js";
import {PairHeartbeat} from "./pair-heartbeat.js";
import {PairState} from "./pair-state.js";
import {isRelayed} from "./pair-stats.js";
import {hasDataChannels} from "./sdp.js";
import {ReceivedTracks} from "./tracks.js";

/** @import {ChannelPlan, Data, ReceivedData} from "./channels.js" */
/** @import {Reason} from "./diagnosis.js" */
/** @import {Peer, Report, Room} from "./index.js" */
/** @import {Description, Problem} from "./negotiation.js" */
/** @import {Kind, LocalTracks} from "./tracks.js" */

// Durations are in milliseconds.
const FIRST_RETRY = 5000; // after a pair that never was connected has failed
const AFTER_CLOSE = 300; // an offer may be on its way from the side that has closed the connection
const ANSWERS_WITHIN = 2000; // otherwise the other peer seems to be gone

/**
 * @typedef {object} CallContext what a pair needs of its call
 * @property {Room} room
 * @property {LocalTracks} tracks
 * @property {ChannelPlan[]} plans
 * @property {() => RTCPeerConnection} newConnection
 * @property {() => boolean} isSignaling whether the connection to the server is in use
 * @property {() => void} hurrySignaling
 * @property {() => Promise<void>} renewIceServers settled soon, whether they came or not
 * @property {(pair: Pair) => void} changed
 * @property {(pair: Pair, reason: Reason) => void} failed
 * @property {(pair: Pair, milliseconds: number) => void} healed
 * @property {(pair: Pair, label: string, data: ReceivedData) => void} message
 * @property {(pair: Pair) => void} removed
 * @property {(report: Report) => void} report
 */

export class Pair {
  #call;
  #order;
  #state;
  #healer;
  #negotiation;
  #other = new OtherSide();
  /** @type {PairHeartbeat | null} */
  #heartbeat = null;
  /** @type {Channels | null} */
  #channels = null;
  /** @type {ReceivedTracks | null} */
  #received = null;
  #turnRefused = false;
  #relayed = false;
  #closed = false;

  /**
   * @param {CallContext} call
   * @param {Peer} member
   * @internal
   */
  constructor(call, member) {
    this.#call = call;
    this.#order = member.order;
    /** @readonly */
    this.peerId = member.peerId;
    /** Why the server has refused a description of this side or of the other; `message` is absent if of the other. @type {Problem | null} */
    this.problem = null;
    this.#state = new PairState(() => this.#overdue());
    this.#negotiation = new Negotiation({
      peerId: this.peerId,
      signals: call.room,
      isPolite: () => this.polite,
      open: () => this.#open(),
      attach: (pc, offer) => this.#attach(pc, offer),
      onProblem: (problem) => this.#refused(problem),
      onQueued: () => this.#queued(),
      onNegotiated: (description, restartIgnored) => this.#negotiated(description, restartIgnored),
    });
    this.#healer = new PairHealer({
      call,
      peerId: this.peerId,
      state: this.#state,
      negotiation: this.#negotiation,
      other: this.#other,
      isPolite: () => this.polite,
      isAway: () => this.away,
      needsRelay: () => this.#relayed || this.#turnRefused,
      channelsAreClosed: () => this.#heartbeat?.closed === true,
      onAttempt: () => this.state === "failed" && this.#explain(),
      onQueued: () => this.#queued(),
    });
  }

  /** The peer as the room knows it; undefined if it is not in the room any more, although its media may still flow. */
  get member() {
    return this.#call.room.peers.get(this.peerId);
  }

  /** "failed": it has not been connected for five seconds, for `reason`. It may be connected later. */
  get state() {
    return this.#state.value;
  }

  /** Why it is not connected, if `state` is "failed". */
  get reason() {
    return this.#state.reason;
  }

  /** Whether the signaling connection of the other peer is lost, although its media may still flow. */
  get away() {
    return this.#other.isAway(this.member);
  }

  /** Whether this side makes offers, restarts ICE and yields when both sides offer. */
  get polite() {
    return this.#call.room.order > this.#order;
  }

  /** Replaced when one of the two sides starts over. */
  get pc() {
    return this.#negotiation.pc;
  }

  /** The audio and video that arrive. */
  get stream() {
    return /** @type {ReceivedTracks} */ (this.#received).stream;
  }

  /** The screen that the other peer shares, or null. */
  get screen() {
    return /** @type {ReceivedTracks} */ (this.#received).screen;
  }

  /**
   * The peer is in the room: now, or again, or this client is.
   * @param {Peer} member
   * @param {boolean} unnoticed messages to this side were lost without the peer knowing, so that it will not start over
   * @internal
   */
  meet({order}, unnoticed = false) {
    if (order !== this.#order) this.#other.cannotRestart = false; // it may be another program
    this.#order = order;
    this.#other.forget();
    this.#negotiation.rejoined();
    if (this.state === "connected") return;
    if (this.#negotiation.begun && !this.#negotiation.unanswered) this.#healer.hurry();
    else if (this.polite || unnoticed) this.#negotiation.offer();
  }

  /** The room says anew whether the peer is there. @internal */
  noticePresence() {
    this.#other.forget();
    this.#call.changed(this);
    if (!this.away && this.state !== "connected") this.#healer.hurry();
  }

  /** The peer has left the room without saying so, and may come back. @internal */
  miss() {
    if (this.state !== "connected" && this.#heartbeat?.closed) this.#call.removed(this);
    else this.#call.changed(this);
  }

  /**
   * @param {"offer" | "answer" | "ice-candidate"} kind
   * @param {RTCSessionDescriptionInit & RTCIceCandidateInit | null} value
   * @param {number} [negotiation]
   * @internal
   */
  receive(kind, value, negotiation) {
    this.#other.hear();
    this.#negotiation.receive(kind, value, negotiation);
  }

  /**
   * @param {Problem} problem of a description of the other side
   * @internal
   */
  hearOfProblem(problem) {
    this.#refused(problem);
  }

  /**
   * The other side asks this one to heal the pair.
   * @param {boolean} replace
   * @internal
   */
  hearOfBreak(replace) {
    this.#other.hear();
    this.#healer.obey(replace);
  }

  /** Attempts to heal now, or finds out soon whether that is necessary. @internal */
  check() {
    if (this.state === "connected") this.#heartbeat?.probe();
    else this.#healer.hurry();
  }

  /**
   * Uses other ICE servers from the next restart of ICE on.
   * @param {RTCIceServer[]} iceServers
   * @internal
   */
  async useIceServers(iceServers) {
    const {pc} = this;
    pc.setConfiguration({...pc.getConfiguration(), iceServers});
    if (!this.polite || this.#other.cannotRestart || !(await isRelayed(pc))) return;
    if (pc === this.pc && this.state === "connected" && !this.#closed) pc.restartIce();
  }

  /**
   * Sends the track of a kind that the call has now.
   * @param {Kind} kind
   * @internal
   */
  updateTrack(kind) {
    return this.#negotiation.finish(this.#call.tracks.update(this.pc, kind));
  }

  /**
   * @param {string} label
   * @param {Data} data
   * @internal
   */
  send(label, data) {
    return this.#channels?.send(label, data) ?? false;
  }

  /** @internal */
  close() {
    this.#closed = true;
    this.#state.stop();
    this.#healer.close();
    this.#detach();
    this.#negotiation.close();
  }

  #detach() {
    this.#heartbeat?.stop();
    this.#channels?.stop();
    this.#heartbeat = null;
  }

  #open() {
    this.#detach();
    const pc = this.#call.newConnection();
    this.#received = new ReceivedTracks(pc, () => this.#call.changed(this));
    this.#channels = new Channels(pc, (label, data) => this.#call.message(this, label, data), () => this.#other.isCall);
    this.#turnRefused = false;
    pc.onconnectionstatechange = () => pc === this.pc && this.#connectionChanged(pc);
    pc.onicecandidateerror = (error) => isTurnRefusal(error) && this.#noteTurnRefusal();
    if (this.#state.breakOff(performance.now())) this.#healer.beginLater();
    return pc;
  }

  /**
   * @param {RTCPeerConnection} pc
   * @param {Description | null} offer
   */
  #attach(pc, offer) {
    if (offer === null || hasDataChannels(offer)) {
      this.#heartbeat = new PairHeartbeat(pc, {
        isAnnounced: () => this.#other.isCall,
        onHeard: () => pc.connectionState === "connected" && this.#connected(),
        onUnheard: () => this.#broken(performance.now()),
        onSilent: (since) => this.#broken(since),
        onClosed: () => this.#broken(performance.now(), AFTER_CLOSE),
      });
      this.#channels?.create(pc, this.#call.plans, offer === null);
    }
    this.#call.tracks.attach(pc, offer === null);
    this.#call.changed(this);
  }

  /** @param {RTCPeerConnection} pc */
  #connectionChanged({connectionState}) {
    if (connectionState === "connected") {
      if (this.#connected()) this.#heartbeat?.expect();
    } else if (connectionState === "disconnected" || connectionState === "failed") {
      this.#broken(performance.now());
      if (connectionState === "failed") this.#healer.begin(); // also if it never was connected
    }
  }

  #connected() {
    const connected = this.#state.connect();
    if (!connected) return false;
    const {outcome, milliseconds} = connected;
    this.#healer.end();
    this.problem = null;
    void this.#noteRelay();
    this.#call.changed(this);
    if (outcome === "healed") this.#call.healed(this, milliseconds);
    this.#call.report({pair: outcome, milliseconds});
    return true;
  }

  #noteTurnRefusal() {
    this.#turnRefused = true;
    if (this.state === "failed") this.#explain();
  }

  async #noteRelay() {
    this.#relayed = await isRelayed(this.pc);
  }

  /**
   * @param {number} since
   * @param {number} [pause] before the first attempt
   */
  #broken(since, pause = 0) {
    if (this.#closed) return;
    if (this.#heartbeat?.closed && !this.member) return this.#call.removed(this);
    if (!this.#state.breakOff(since)) return;
    this.#call.hurrySignaling(); // it may be as dead
    this.#healer.begin(pause);
    this.#call.changed(this);
  }

  /** @param {Problem | null} problem */
  #refused(problem) {
    if (this.problem === problem) return;
    this.problem = problem;
    this.#call.changed(this);
    if (problem) this.#explain();
  }

  #queued() {
    this.#other.queue();
    this.#call.changed(this);
  }

  /**
   * @param {Description} description
   * @param {boolean} restartIgnored
   */
  #negotiated(description, restartIgnored) {
    this.#other.describe(description, restartIgnored);
    this.#received?.update();
    if (restartIgnored && this.state !== "connected") this.#healer.hurry(true);
  }

  #overdue() {
    this.#explain();
    if (this.member) this.#healer.begin(this.#turnRefused ? 0 : FIRST_RETRY);
    else this.#call.removed(this);
  }

  /** Tells why the pair is not connected, unless that was told. */
  #explain() {
    const refused = this.problem !== null;
    const {wasConnected, since} = this.#state;
    const {begun, unansweredFor} = this.#negotiation;
    const gone = this.#call.isSignaling() && (this.away || !begun || unansweredFor > ANSWERS_WITHIN);
    const reason = diagnose(this.pc, {refused, gone, turnRefused: this.#turnRefused, wasConnected});
    const told = this.#state.fail(reason);
    if (!told) return;
    this.#call.changed(this);
    this.#call.failed(this, reason);
    if (told === "failed") this.#call.report({pair: "failed", reason, milliseconds: Math.round(performance.now() - since)});
  }
}
