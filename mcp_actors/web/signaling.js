/**
 * Browser client of the signaling server, without dependencies, to be copied into an application with connection.js,
 * transport.js and renewal.js beside it.
 *
 *   const signaling = new Signaling("wss://example.org/ws/signaling/");
 *   signaling.addEventListener("peer-joined", ({detail}) => console.log(detail.peer_id, "is here"));
 *   const {peers, ice_servers} = await signaling.join("room123", "peer123", {name: "Ada"});
 *   await signaling.signal("peer456", {hello: "world"});
 *
 * The client notices a lost connection, also one that is lost without a sign, reconnects by itself and resumes its session: missed
 * messages arrive first, unanswered requests are sent again, and the other peers notice nothing. If the session cannot be resumed,
 * because it took too long or the server was restarted, the client joins the room again, and "rejoined" brings the new roster. Keep
 * your RTCPeerConnections in both cases.
 *
 * If the credentials of ICE servers end, the client asks for new ones before, and "ice-servers" brings them: hand them to
 * RTCPeerConnection.setConfiguration.
 *
 * When a server process is about to stop, the client opens its next connection while the current one is still in use.
 */

import {RoomConnection} from "./connection.js";
import {Renewal} from "./renewal.js";
import {emit} from "./transport.js";

export {Connection, RoomConnection} from "./connection.js";
export {SignalingError, emit} from "./transport.js";

/**
 * One peer in one room of /ws/signaling/.
 *
 * Events with the payload of the message as `detail`: "peer-joined" {peer_id, metadata, order}, "peer-updated" {peer_id, metadata},
 * "peer-left" {peer_id, reason}; with `sender` added, and `verified` as the server says: "offer" {offer}, "answer" {answer},
 * "ice-candidate" {candidate}, "signal" {data}. From moderators: "locked" {locked}, when the room is locked or unlocked; "kicked"
 * {peer_id, reason, message} or "room-closed" {reason, message}, after which "close" follows. From the application of the server:
 * "announcement" {content}. "rejoined" brings the `joined` payload
 * with the new roster after a reconnect in which messages were missed. "ice-servers" {ice_servers, ice_servers_expire_in} brings
 * ICE servers with new credentials, long before the last ones end. Events of missed messages come before "open"; see Connection
 * for its events.
 *
 * The server numbers the offers between two peers. Offers, answers and candidates have this number as `negotiation`; the client
 * adds it to outgoing answers and candidates, so that the server refuses those of an outdated offer ("stale-negotiation").
 */
export class Signaling extends RoomConnection {
  static #EVENTS = new Set(["peer-joined", "peer-updated", "peer-left", "offer", "answer", "ice-candidate", "signal"]);
  #lastOffers = new Map(); // by peer, the number of its last offer
  #current = new Map(); // by peer, that of the offer our candidates belong to; unknown until our offer is acknowledged
  #renewal = new Renewal(() => this.renewIceServers());

  /**
   * @param {string | URL} url of /ws/signaling/
   * @param {object} [options] those of Connection
   */
  constructor(url, options = {}) {
    super(url, {join: "join", leave: "leave"}, options);
    this.addEventListener("open", () => this.#renewal.check()); // as after sleep
    this.addEventListener("close", () => this.#renewal.stop());
  }

  /**
   * Joins a room, and leaves the previous one; connects first if necessary.
   * @param {string} peerId unique in the room
   * @param {object} [metadata] sent to everybody in the room
   * @returns {Promise<{peer_id: string, order: number, peers: object[], ice_servers: RTCIceServer[]}>} peers includes this one;
   *   rejected with a SignalingError, of the server or of the connection
   */
  async join(room, peerId, metadata = undefined) {
    this.#renewal.stop();
    return this.enter(room, {peer_id: peerId, metadata}, (joined) => {
      this.updateSession(joined);
      this.#forgetOffers();
      this.#renewal.start(joined.ice_servers_expire_in);
    });
  }

  async leave() {
    this.#renewal.stop();
    await super.leave();
  }

  /**
   * Asks for ICE servers with new credentials, which "ice-servers" brings; the client does so by itself before they end.
   * @returns {Promise<RTCIceServer[]>}
   */
  async renewIceServers() {
    const {membership} = this;
    const given = await this.#ask("ice-servers");
    if (membership === this.membership) {
      this.#renewal.start(given.ice_servers_expire_in);
      emit(this, "ice-servers", given);
    }
    return given.ice_servers;
  }

  /** The metadata for the next time this client rejoins; members already in the room are not told. */
  set metadata(metadata) {
    if (this.membership) this.membership.payload.metadata = metadata;
  }

  /** Changes the metadata of this peer; the others get "peer-updated". */
  async update(metadata) {
    const {membership} = this;
    await this.#ask("update", {metadata});
    if (membership) membership.payload.metadata = metadata;
  }

  /** Sends an RTCSessionDescription to a peer; fulfilled with the ack, or rejected, for example with "peer-not-found". */
  offer = async (target, offer) => {
    const current = {};
    this.#current.set(target, current);
    const ack = await this.#relay("offer", target, {offer});
    current.negotiation = ack.negotiation;
    return ack;
  };
  /** Answers the last offer of a peer, or an earlier one by its `negotiation`. */
  answer = (target, answer, negotiation = this.#lastOffers.get(target)) => {
    this.#current.set(target, {negotiation});
    return this.#relay("answer", target, {answer}, negotiation);
  };
  /** Sends an RTCIceCandidate of the last description sent to this peer, or null after the last candidate. */
  candidate = (target, candidate) => this.#relay("ice-candidate", target, {candidate}, this.#current.get(target)?.negotiation);
  /** Sends any JSON value. */
  signal = (target, data) => this.#relay("signal", target, {data});

  /**
   * For moderators, as all that follows: puts a peer out of the room.
   * @param {object} [options]
   * @param {number} [options.banSeconds] how long it may not join again
   * @param {string} [options.reason] for programs, and `message` for people: the peer is told both
   */
  kick = (peerId, {banSeconds, reason, message} = {}) =>
    this.#ask("kick", {peer_id: peerId, ban_seconds: banSeconds, reason, message});
  /** Puts everybody out of the room, including this client. */
  closeRoom = ({reason, message} = {}) => this.#ask("close-room", {reason, message});
  /** Refuses all joins from now on, except those of moderators. */
  lock = () => this.#ask("lock");
  unlock = () => this.#ask("unlock");
  /** @returns {Promise<object[]>} the bans of the room */
  listBans = async () => (await this.#ask("list-bans")).bans;
  unban = (peerId) => this.#ask("unban", {peer_id: peerId});

  #ask(type, payload = {}, negotiation = undefined) {
    return this.request(type, this.room ?? "", payload, {negotiation});
  }

  #relay(type, target, payload, negotiation) {
    return this.#ask(type, {target_peer_id: target, ...payload}, negotiation);
  }

  /** Numbers start again when this client or the peer joins again. */
  #forgetOffers(peer = undefined) {
    for (const numbers of [this.#lastOffers, this.#current]) {
      if (peer === undefined) numbers.clear();
      else numbers.delete(peer);
    }
  }

  async restore(ask) {
    const {membership} = this;
    if (!membership) {
      this.updateSession({}); // a session without a room is not kept
      return undefined;
    }
    const joined = await ask("join", membership.room, {...membership.payload, ...this.resumeFields()});
    const complete = this.updateSession(joined);
    if (membership !== this.membership) {
      await ask("leave", membership.room); // leave() was called meanwhile
      return undefined;
    }
    if (!joined.resumed) this.#forgetOffers();
    this.#renewal.startIfStopped(joined.ice_servers_expire_in); // else those that are in use end first
    return complete ? undefined : new CustomEvent("rejoined", {detail: joined});
  }

  receive({type, room, sender, verified, payload = {}, negotiation}) {
    if (room !== this.room) return;
    if (type === "room-locked" || type === "room-unlocked") emit(this, "locked", {locked: type === "room-locked"});
    if (type === "announcement") emit(this, type, payload);
    if (type === "kicked" || type === "room-closed") {
      this.forget();
      this.#forgetOffers();
      this.#renewal.stop();
      emit(this, type, payload);
    }
    if (!Signaling.#EVENTS.has(type)) return;
    if (type === "offer") this.#lastOffers.set(sender, negotiation);
    if (type === "peer-left") this.#forgetOffers(payload.peer_id);
    if (sender === undefined) emit(this, type, payload);
    else emit(this, type, {...payload, sender, verified, negotiation: negotiation ?? undefined}); // not what the payload says
  }
}
