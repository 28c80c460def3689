/** A room in which this client is a peer. */

import {BaseRoom} from "./base-room.js";
import {emit} from "./events.js";
import {Renewal} from "./renewal.js";

/** @import {CommonEvents, Ended} from "./base-room.js" */
/** @import {Connection} from "./connection.js" */
/** @import {Link} from "./link.js" */
/** @import {Delivery, Message, Payload, Peer} from "./messages.js" */

/** @typedef {{sender: string, negotiation?: number, verified: boolean}} Relayed */

/**
 * What `detail` is in the events of a room.
 * @typedef {object} PeerEvents
 * @property {Peer} peer-away if `presence` was asked for
 * @property {Peer} peer-back
 * @property {Relayed & {offer: RTCSessionDescriptionInit}} offer
 * @property {Relayed & {answer: RTCSessionDescriptionInit}} answer
 * @property {Relayed & {candidate: RTCIceCandidateInit | null}} ice-candidate
 * @property {{sender: string, data: unknown, verified: boolean}} signal
 * @property {{iceServers: RTCIceServer[]}} ice-servers with new credentials, for RTCPeerConnection.setConfiguration
 */

/** @typedef {CommonEvents & PeerEvents} RoomEvents */

/**
 * How a connection to another peer came about. `milliseconds`: how long that took, or has been tried.
 * @typedef {{pair: "connected" | "healed" | "failed", reason?: string, milliseconds: number}} Report
 */

/** @type {Map<string, "offer" | "answer" | "candidate" | "data">} the field of each relayed message */
const RELAYED = new Map([["offer", "offer"], ["answer", "answer"], ["ice-candidate", "candidate"], ["signal", "data"]]);

/**
 * Offers, answers and candidates to the peers of a room.
 *
 * The server numbers the offers between two peers. Offers, answers and candidates have this number as `negotiation`; the room
 * adds it to outgoing answers and candidates, so that the server refuses those of an outdated offer ("stale-negotiation").
 * @extends {BaseRoom<RoomEvents>}
 */
export class Room extends BaseRoom {
  #order = 0;
  /** @type {RTCIceServer[]} */
  #iceServers = [];
  /** By peer, the number of its last offer. @type {Map<string, number | undefined>} */
  #offers = new Map();
  /** By peer, that of the offer our candidates belong to; unknown until our offer is acknowledged. @type {Map<string, {negotiation?: number}>} */
  #current = new Map();
  #renewal = new Renewal(() => this.renewIceServers());

  /** The connection on which the room was joined. */
  get connection() {
    return /** @type {Connection} */ (this.owner);
  }

  /** This client's id. */
  get peerId() {
    return /** @type {string} */ (this.payload["peer_id"]);
  }

  /** The room's join counter for this client: of two peers, the one with the higher `order` makes the offer. */
  get order() {
    return this.#order;
  }

  /** For RTCPeerConnection; renewed before their credentials end, which "ice-servers" tells. */
  get iceServers() {
    return this.#iceServers;
  }

  /**
   * Sends an RTCSessionDescription to a peer.
   * @param {string} peerId
   * @param {RTCSessionDescriptionInit} offer
   * @returns {Promise<Delivery>} rejected with a SignalingError, for example with "peer-not-found"
   */
  async offer(peerId, offer) {
    /** @type {{negotiation?: number}} */
    const current = {};
    this.#current.set(peerId, current);
    const delivery = await this.#relay("offer", peerId, {offer});
    current.negotiation = delivery.negotiation;
    return delivery;
  }

  /**
   * Answers the last offer of a peer, or that with the number `negotiation`.
   * @param {string} peerId
   * @param {RTCSessionDescriptionInit} answer
   * @param {number} [negotiation]
   */
  answer(peerId, answer, negotiation = this.#offers.get(peerId)) {
    this.#current.set(peerId, {negotiation});
    return this.#relay("answer", peerId, {answer}, negotiation);
  }

  /**
   * Sends an RTCIceCandidate of the last description sent to this peer, or null after the last candidate.
   * @param {string} peerId
   * @param {RTCIceCandidateInit | null} candidate
   */
  candidate(peerId, candidate) {
    return this.#relay("ice-candidate", peerId, {candidate}, this.#current.get(peerId)?.negotiation);
  }

  /**
   * Sends any JSON value.
   * @param {string} peerId
   * @param {unknown} data
   */
  signal(peerId, data) {
    return this.#relay("signal", peerId, {data});
  }

  /** Asks for ICE servers with new credentials, which "ice-servers" brings, too; done before they end. */
  async renewIceServers() {
    const given = await this.request("ice-servers");
    if (this.joined) {
      this.#keepIceServers(given);
      emit(this, "ice-servers", {iceServers: this.#iceServers});
    }
    return this.#iceServers;
  }

  /**
   * Tells the server, for its metrics, how a connection to another peer came about.
   * @param {Report} report
   */
  async report(report) {
    await this.request("report", report, {resend: false});
  }

  /**
   * @param {Link} link
   * @param {Payload} reply
   * @override
   * @internal
   */
  welcome(link, reply) {
    link.greet(reply);
    super.welcome(link, reply);
    if (this.joined) this.#keepIceServers(reply);
  }

  /**
   * @param {Payload} reply
   * @param {boolean} resumed
   * @param {boolean} complete
   * @override
   * @internal
   */
  rejoined(reply, resumed, complete) {
    if (!resumed) this.#forgetOffers();
    if (!this.#renewal.running) this.#keepIceServers(reply); // else those that are in use end first
    this.#renewal.check(); // as after sleep
    super.rejoined(reply, resumed, complete);
  }

  /**
   * @param {Ended} ended
   * @override
   * @internal
   */
  end(ended) {
    this.#renewal.stop();
    super.end(ended);
  }

  /**
   * @param {Payload} reply
   * @override
   * @internal
   */
  show(reply) {
    this.payload["peer_id"] = reply.peer_id;
    this.#order = reply.order;
    super.show(reply);
  }

  /**
   * @param {Message} message
   * @param {Payload} payload
   * @override
   * @internal
   */
  handle(message, payload) {
    const {type, sender, negotiation, verified = false} = message;
    const field = RELAYED.get(type);
    if (field === undefined || sender === undefined) {
      if (type === "peer-left") this.#forgetOffers(payload.peer_id);
      return super.handle(message, payload);
    }
    if (type === "offer") this.#offers.set(sender, negotiation);
    emit(this, type, {sender, [field]: payload[field], negotiation, verified}); // no more of what the sender says
  }

  /** @param {Payload} reply */
  #keepIceServers({ice_servers = [], ice_servers_expire_in}) {
    this.#iceServers = ice_servers;
    this.#renewal.start(ice_servers_expire_in);
  }

  /**
   * Numbers start again when this client or the peer joins again.
   * @param {string} [peerId]
   */
  #forgetOffers(peerId) {
    for (const numbers of [this.#offers, this.#current]) {
      if (peerId === undefined) numbers.clear();
      else numbers.delete(peerId);
    }
  }

  /**
   * @param {string} type
   * @param {string} peerId
   * @param {object} content
   * @param {number} [negotiation]
   * @returns {Promise<Delivery>}
   */
  async #relay(type, peerId, content, negotiation) {
    const reply = await this.request(type, {target_peer_id: peerId, ...content}, {negotiation});
    return {status: reply.status, negotiation: reply.negotiation};
  }
}
