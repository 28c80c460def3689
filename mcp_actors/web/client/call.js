/**
 * A mesh call: a connection to every other peer of a room, which is negotiated over the room, and healed when it breaks.
 *
 *   const call = new Call(room, {audio: microphone, video: camera, channels: {chat: {}}});
 *   call.addEventListener("pair-changed", ({detail: pair}) => show(pair.peerId, pair.state, pair.stream));
 *   call.addEventListener("message", ({detail: {pair, label, data}}) => ...);
 *   call.send("chat", "Hello!");
 *
 * Media does not depend on signaling: a peer that has lost its signaling connection stays in the call, `away`, for as long as
 * its media flows. "Pairs" in PROTOCOL.md says what two clients do to heal a pair.
 */

import {plan} from "./channels.js";
import {TypedEventTarget, emit} from "./events.js";
import {Pair} from "./pair.js";
import {LocalTracks} from "./tracks.js";
import {onWake} from "./wake.js";

export {Pair} from "./pair.js";

/** @import {Peer, Report, Room} from "./index.js" */
/** @import {CallContext} from "./pair.js" */

/** @typedef {import("./channels.js").Data} Data */
/** @typedef {import("./channels.js").ReceivedData} ReceivedData */
/** @typedef {import("./diagnosis.js").Reason} Reason */
/** @typedef {import("./pair-state.js").State} PairState */
/** @typedef {import("./tracks.js").Kind} Kind */

/**
 * `audio`, `video`: the tracks to send. With null, the kind is negotiated, so that a track can be sent later at once; a kind that
 * is left out is negotiated when there is a track. `channels`: data channels by label, which both sides create; their ids are
 * fixed by the order of labels, so add new ones at the end, or set an `id`. With `negotiated: false` the side that offers opens
 * the channel. `report`: whether the server is told, for its metrics, how pairs fare.
 * @typedef {object} CallOptions
 * @property {MediaStreamTrack | null} [audio]
 * @property {MediaStreamTrack | null} [video]
 * @property {Record<string, RTCDataChannelInit>} [channels]
 * @property {typeof globalThis.RTCPeerConnection} [RTCPeerConnection] in place of the global one
 * @property {RTCConfiguration} [rtcConfiguration] its `iceServers` are used beside those of the room
 * @property {boolean} [report]
 */

/**
 * The events, with their `detail`. "pair-changed": its state, stream, screen, connection, problem, or what the room says of the
 * peer. "pair-failed": not connected for five seconds, and why; again if the reason changes. "pair-healed": connected again, after
 * so many milliseconds.
 * @typedef {object} CallEvents
 * @property {Pair} pair-added
 * @property {Pair} pair-changed
 * @property {Pair} pair-removed
 * @property {{pair: Pair, reason: Reason}} pair-failed
 * @property {{pair: Pair, milliseconds: number}} pair-healed
 * @property {{pair: Pair, label: string, data: ReceivedData}} message
 */

const LEFT_ON_PURPOSE = new Set(["left", "kicked", "replaced"]);
// Durations are in milliseconds.
const RENEWAL_WAITS = 300; // a restart waits no longer for new credentials
const RENEWAL_PAUSE = 5000;
const HURRY_PAUSE = 1000; // between attempts to reach the server while a pair is broken

/** @extends {TypedEventTarget<CallEvents>} */
export class Call extends TypedEventTarget {
  #room;
  #tracks;
  #options;
  /** @type {Map<string, Pair>} */
  #pairs = new Map();
  #closing = new AbortController();
  #reports;
  #renewedAt = -Infinity;
  #hurriedAt = -Infinity;
  /** @type {CallContext} */
  #context;

  /**
   * Calls everybody in the room. Create it right after joining, so that it hears all offers.
   * @param {Room} room
   * @param {CallOptions} [options]
   */
  constructor(room, options = {}) {
    super();
    this.#room = room;
    this.#options = options;
    this.#reports = options.report ?? true;
    this.#tracks = new LocalTracks(options.audio, options.video);
    this.#context = this.#makeContext(options);
    this.#listen();
    queueMicrotask(() => this.#begin()); // once the application listens
  }

  /** The other peers of the call, by their ids. @returns {ReadonlyMap<string, Pair>} */
  get pairs() {
    return this.#pairs;
  }

  /**
   * Sends this track of a kind, or none, to everybody from now on.
   * @param {Kind} kind "screen" is a second video, which others see as `screen` of their pair
   * @param {MediaStreamTrack | null} track
   */
  async replaceTrack(kind, track) {
    this.#tracks.replace(kind, track);
    await Promise.all([...this.#pairs.values()].map((pair) => pair.updateTrack(kind)));
  }

  /**
   * Sends data over the channel of a label, to everybody or to one peer.
   * @param {string} label
   * @param {Data} data
   * @param {string} [to] the id of a peer
   * @returns {number} of pairs that have taken it: those whose channel is open, and has less than 8 MiB waiting
   */
  send(label, data, to) {
    const pairs = to === undefined ? [...this.#pairs.values()] : [this.#pairs.get(to)];
    return pairs.filter((pair) => pair?.send(label, data)).length;
  }

  /** Tries now what would be tried after a pause. Browsers tell of changes of the network; this is for other reasons. */
  restart() {
    this.#check();
  }

  /** Closes all connections; the room stays. */
  close() {
    this.#closing.abort();
    for (const pair of [...this.#pairs.values()]) this.#remove(pair);
  }

  /**
   * @param {CallOptions} options
   * @returns {CallContext}
   */
  #makeContext({channels = {}}) {
    const room = this.#room;
    return {
      room,
      tracks: this.#tracks,
      plans: plan(channels),
      newConnection: () => this.#newConnection(),
      isSignaling: () => room.connection.state === "open",
      hurrySignaling: () => this.#hurrySignaling(),
      renewIceServers: () => this.#renewIceServers(),
      changed: (pair) => this.#emit("pair-changed", pair, pair),
      failed: (pair, reason) => this.#emit("pair-failed", pair, {pair, reason}),
      healed: (pair, milliseconds) => this.#emit("pair-healed", pair, {pair, milliseconds}),
      message: (pair, label, data) => this.#emit("message", pair, {pair, label, data}),
      removed: (pair) => this.#remove(pair),
      report: (report) => void this.#report(report),
    };
  }

  #listen() {
    const room = this.#room;
    const options = {signal: this.#closing.signal};
    room.addEventListener("rejoined", ({detail: {resumed}}) => this.#rejoined(resumed), options);
    room.addEventListener("ended", () => this.close(), options);
    room.addEventListener("ice-servers", () => this.#useIceServers(), options);
    room.addEventListener("peer-joined", ({detail}) => this.#meet(detail), options);
    room.addEventListener("peer-left", ({detail: {peerId, reason}}) => this.#left(peerId, LEFT_ON_PURPOSE.has(reason)), options);
    room.addEventListener("peer-updated", ({detail: {peerId}}) => this.#updated(peerId), options);
    for (const type of /** @type {const} */ (["peer-away", "peer-back"])) {
      room.addEventListener(type, ({detail: {peerId}}) => this.#pairs.get(peerId)?.noticePresence(), options);
    }
    room.addEventListener("signal", ({detail: {sender, data}}) => this.#signaled(sender, data), options);
    room.addEventListener("offer", ({detail}) => this.#receive("offer", detail, detail.offer), options);
    room.addEventListener("answer", ({detail}) => this.#receive("answer", detail, detail.answer), options);
    room.addEventListener("ice-candidate", ({detail}) => this.#receive("ice-candidate", detail, detail.candidate), options);
    room.connection.addEventListener("open", () => this.#check(), options);
    onWake(() => this.#check(), this.#closing.signal);
  }

  #begin() {
    if (this.#closing.signal.aborted) return;
    const {peers, order} = this.#room;
    for (const member of peers.values()) this.#meet(member);
    // These have joined after this client, and may have offered before it listened.
    const late = [...peers.values()].filter((member) => member.order > order);
    for (const {peerId} of late) this.#room.signal(peerId, {callHeal: {replace: true}}).catch(() => {});
  }

  #newConnection() {
    const {RTCPeerConnection = globalThis.RTCPeerConnection, rtcConfiguration} = this.#options;
    return new RTCPeerConnection({...rtcConfiguration, iceServers: this.#iceServers()});
  }

  #iceServers() {
    return [...(this.#options.rtcConfiguration?.iceServers ?? []), ...this.#room.iceServers];
  }

  /** @param {Peer} member @param {boolean} [unnoticed] */
  #meet(member, unnoticed) {
    const known = this.#pairs.get(member.peerId);
    const pair = known ?? new Pair(this.#context, member);
    this.#pairs.set(member.peerId, pair);
    this.#emit(known ? "pair-changed" : "pair-added", pair, pair);
    pair.meet(member, unnoticed);
  }

  /** @param {boolean} resumed */
  #rejoined(resumed) {
    const {peers} = this.#room;
    for (const peerId of [...this.#pairs.keys()]) if (!peers.has(peerId)) this.#left(peerId, false);
    for (const member of peers.values()) this.#meet(member, resumed);
  }

  /** @param {string} peerId @param {boolean} onPurpose */
  #left(peerId, onPurpose) {
    const pair = this.#pairs.get(peerId);
    if (onPurpose && pair) this.#remove(pair);
    else pair?.miss();
  }

  /** @param {string} peerId */
  #updated(peerId) {
    const pair = this.#pairs.get(peerId);
    if (pair) this.#emit("pair-changed", pair, pair);
  }

  /** @param {string} sender @param {unknown} data */
  #signaled(sender, data) {
    const {callProblem, callHeal} = /** @type {{callProblem?: {code?: unknown}, callHeal?: {replace?: unknown}}} */ (data ?? {});
    const pair = this.#pairs.get(sender);
    if (typeof callProblem?.code === "string") pair?.hearOfProblem({code: callProblem.code});
    if (typeof callHeal === "object") pair?.hearOfBreak(callHeal?.replace === true);
  }

  /**
   * @param {"offer" | "answer" | "ice-candidate"} kind
   * @param {{sender: string, negotiation?: number}} relayed
   * @param {RTCSessionDescriptionInit | RTCIceCandidateInit | null} value
   */
  #receive(kind, {sender, negotiation}, value) {
    this.#pairs.get(sender)?.receive(kind, /** @type {RTCSessionDescriptionInit & RTCIceCandidateInit} */ (value), negotiation);
  }

  #check() {
    for (const pair of this.#pairs.values()) pair.check();
  }

  /** A dead network takes the connection to the server, too: it is tried again as often as pairs are. */
  #hurrySignaling() {
    if (performance.now() - this.#hurriedAt < HURRY_PAUSE) return;
    this.#hurriedAt = performance.now();
    this.#room.connection.reconnect();
  }

  async #renewIceServers() {
    if (performance.now() - this.#renewedAt < RENEWAL_PAUSE) return;
    this.#renewedAt = performance.now();
    const renewed = this.#room.renewIceServers().catch(() => {});
    await Promise.race([renewed, new Promise((resolve) => setTimeout(resolve, RENEWAL_WAITS))]);
  }

  #useIceServers() {
    for (const pair of this.#pairs.values()) void pair.useIceServers(this.#iceServers());
  }

  /** @param {Report} report */
  async #report(report) {
    if (!this.#reports || this.#closing.signal.aborted) return;
    try {
      await this.#room.report(report);
    } catch (error) {
      if (/** @type {{code?: string}} */ (error).code === "unknown-type") this.#reports = false;
    }
  }

  /** @param {Pair} pair */
  #remove(pair) {
    if (this.#pairs.get(pair.peerId) !== pair) return;
    this.#pairs.delete(pair.peerId);
    pair.close();
    emit(this, "pair-removed", pair);
  }

  /**
   * @param {keyof CallEvents} type
   * @param {Pair} pair
   * @param {CallEvents[keyof CallEvents]} detail
   */
  #emit(type, pair, detail) {
    if (this.#pairs.get(pair.peerId) === pair) emit(this, type, detail);
  }
}
