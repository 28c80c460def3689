/**
 * A call: one RTCPeerConnection to every other peer of the room, negotiated over Signaling.
 *
 * Of two peers the one with the higher `order` is the polite one, whichever was there first: it makes the first offer, gives
 * way when both offer at once, and looks for another path (restarts ICE) when theirs breaks. Media outlives signaling: a peer
 * whose signaling dropped stays in the call, marked `away`, for as long as its media flows.
 */

import {emit} from "./signaling.js";

const LEFT_ON_PURPOSE = new Set(["left", "kicked", "room-closed"]);
const MOST_HELD_CANDIDATES = 100;
const DELIVERY_ATTEMPTS = 4;

const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** The session id in an SDP's origin line: another one means another RTCPeerConnection. */
const sessionOf = (description) => /^o=\S+ (\d+)/m.exec(description.sdp)?.[1];

/** That line whole, with its version: another one means another description. */
const originOf = (description) => /^o=.*$/m.exec(description?.sdp)?.[0];

/** Sends again what the server refuses for the moment only; what it refuses as stale, or for good, is nobody's concern. */
async function deliver(send, wanted) {
  for (let attempt = 1; wanted(); attempt++) {
    try {
      return await send();
    } catch (error) {
      // It waited for the connection where the session went on; where it did not, rejoining compares notes with everybody.
      if (!error.retryable || error.code === "connection-lost" || attempt === DELIVERY_ATTEMPTS) return undefined;
      await sleep(500 * attempt);
    }
  }
  return undefined; // overtaken by a later description
}

/** Another peer of the call. */
export class Peer {
  #call;
  #turn = Promise.resolve();
  #attached = false;
  #offering = false;
  #ignoring = false;
  #held = [];
  #session;
  #numbers = {newest: 0, taken: 0}; // of the peer's offers, and of the offer whose description of the peer is set

  constructor(call, id) {
    this.#call = call;
    /** @type {string} */
    this.id = id;
    /** The server's join counter: who came first. */
    this.order = 0;
    /** What the peer told about itself when it joined: written by a stranger. */
    this.metadata = {};
    /** Whether its signaling connection is gone (its media may be fine). */
    this.away = false;
    this.#open();
  }

  /** Whether our side gives way, and makes the first offer. */
  get polite() {
    return this.#call.order > this.order;
  }

  /** @type {RTCPeerConnectionState} */
  get state() {
    return this.pc.connectionState;
  }

  /** Offers a connection, on a fresh RTCPeerConnection where this one has been used. */
  offer() {
    if (this.#attached) this.#reopen();
    this.#attach();
  }

  /**
   * Goes on after signaling was away, on either side: what is connected is kept, for media does not depend on signaling.
   * `unnoticed`: what was sent to us is lost, and the peer does not know of it, so that it will not begin.
   */
  resume(unnoticed = false) {
    this.#numbers = {newest: 0, taken: 0}; // they begin anew with each join
    if (this.state !== "connected") {
      if (this.polite || unnoticed) this.offer();
    } else if (this.pc.signalingState === "have-local-offer") {
      this.#tell("offer", this.pc.localDescription); // it was lost, or its answer was
    }
  }

  /** Starts over where no connection has come about. */
  retry() {
    if (this.#attached && this.state !== "connected") this.offer();
  }

  /** Takes a description or a candidate from the peer; they are handled one after the other. `negotiation`: of which offer. */
  take(kind, value, negotiation) {
    const numbers = this.#numbers;
    const received = {value, negotiation, numbers};
    if (kind === "offer" && negotiation) numbers.newest = Math.max(numbers.newest, negotiation);
    this.#turn = this.#turn
      .then(() => (kind === "ice-candidate" ? this.#takeCandidate(received) : this.#takeDescription(received)))
      .catch((error) => console.warn(`${kind} of ${this.id} not used: ${error.name}`));
  }

  /** Sends another track, or none, from now on: needs no negotiation. */
  async send(kind, track) {
    if (!this.#attached) return;
    const transceivers = this.pc.getTransceivers().filter(({receiver}) => receiver.track.kind === kind);
    await Promise.all(transceivers.map(({sender}) => sender.replaceTrack(track)));
  }

  close() {
    this.pc.close();
  }

  #open() {
    const pc = new RTCPeerConnection({iceServers: this.#call.iceServers});
    /** @type {RTCPeerConnection} replaced when one of the two sides starts over */
    this.pc = pc;
    /** What the peer sends. */
    this.stream = new MediaStream();
    pc.ontrack = ({track}) => this.stream.addTrack(track);
    pc.onicecandidate = ({candidate}) => this.#tell("candidate", candidate);
    pc.onnegotiationneeded = () => this.#negotiate(pc);
    pc.onconnectionstatechange = () => this.#stateChanged(pc);
  }

  #reopen() {
    this.pc.close();
    this.#attached = this.#offering = this.#ignoring = false;
    this.#held = [];
    this.#session = undefined;
    this.#open();
    this.#call.changed(this);
  }

  /** Makes our tracks part of the connection: the polite side before its offer, the other before its answer. */
  #attach() {
    this.#attached = true;
    const transceivers = this.pc.getTransceivers();
    for (const [kind, track] of Object.entries(this.#call.tracks)) {
      const offered = transceivers.filter(({receiver}) => receiver.track.kind === kind);
      if (this.pc.remoteDescription === null) this.pc.addTransceiver(track ?? kind, {direction: "sendrecv"});
      for (const transceiver of offered) {
        transceiver.direction = "sendrecv";
        transceiver.sender.replaceTrack(track);
      }
    }
  }

  async #negotiate(pc) {
    try {
      this.#offering = true;
      await pc.setLocalDescription();
      if (pc === this.pc) this.#tell(pc.localDescription.type, pc.localDescription);
    } catch (error) {
      console.warn(`No offer to ${this.id}: ${error.name}`);
    } finally {
      if (pc === this.pc) this.#offering = false;
    }
  }

  async #takeDescription({value: description, negotiation, numbers}) {
    if (description.type === "offer" && negotiation < numbers.newest) return undefined; // the next one is waiting already
    const session = sessionOf(description);
    if (this.#session !== undefined && session !== this.#session) {
      // The peer has started over, so must we; an answer says that it no longer knew the connection we offered to continue.
      this.#reopen();
      if (description.type === "answer") return this.#attach();
    }
    const glare = description.type === "offer" && (this.#offering || this.pc.signalingState !== "stable");
    this.#ignoring = glare && !this.polite;
    if (this.#ignoring) return undefined;
    if (glare && this.#session === undefined) this.#reopen(); // rolling a first offer back would leave its transceivers behind
    const pc = this.pc;
    await pc.setRemoteDescription(description); // rolls our own offer back where there is one
    this.#session = session;
    if (negotiation) numbers.taken = negotiation;
    for (const received of this.#held.splice(0)) {
      await this.#takeCandidate(received).catch((error) => console.warn(`candidate of ${this.id} not used: ${error.name}`));
    }
    if (description.type !== "offer") return undefined;
    if (!this.#attached) this.#attach();
    await pc.setLocalDescription();
    return this.#tell("answer", pc.localDescription, negotiation);
  }

  async #takeCandidate(received) {
    const {pc} = this;
    const {value: candidate, negotiation, numbers} = received;
    if (negotiation < numbers.taken) return; // of a description that was overtaken
    const generation = candidate?.usernameFragment;
    const known = pc.remoteDescription && (!generation || pc.remoteDescription.sdp.includes(`a=ice-ufrag:${generation}`));
    if (!known) {
      if (!this.#ignoring && this.#held.length < MOST_HELD_CANDIDATES) this.#held.push(received);
    } else if (candidate) {
      await pc.addIceCandidate(candidate);
    }
  }

  #tell(what, value, negotiation) {
    const {pc} = this;
    const wanted = () => pc === this.pc && (what === "candidate" || originOf(pc.localDescription) === originOf(value));
    deliver(() => this.#call.signaling[what](this.id, value, negotiation), wanted);
  }

  #stateChanged(pc) {
    if (pc !== this.pc) return;
    if (["disconnected", "failed"].includes(pc.connectionState) && this.polite) pc.restartIce();
    this.#call.changed(this);
  }
}

/**
 * The mesh.
 *
 * Events, each with the Peer as `detail`: "peer-added", "peer-changed" (name, stream, state, away), "peer-removed".
 */
export class Call extends EventTarget {
  /** @param {import("./signaling.js").Signaling} signaling */
  constructor(signaling) {
    super();
    this.signaling = signaling;
    /** @type {Map<string, Peer>} */
    this.peers = new Map();
    /** What we send; see send(). */
    this.tracks = {audio: null, video: null};
    /** @type {RTCIceServer[]} told by the server */
    this.iceServers = [];
    /** Our own place in the order of joining. */
    this.order = 0;

    const on = (type, handle) => signaling.addEventListener(type, ({detail}) => handle(detail));
    on("rejoined", (joined) => this.#enter(joined));
    on("peer-joined", (member) => this.#meet(member));
    on("peer-left", ({peer_id, reason}) => this.#part(this.peers.get(peer_id), LEFT_ON_PURPOSE.has(reason)));
    const take = (kind, {sender, negotiation}, value) => this.peers.get(sender)?.take(kind, value, negotiation);
    on("offer", (detail) => take("offer", detail, detail.offer));
    on("answer", (detail) => take("answer", detail, detail.answer));
    on("ice-candidate", (detail) => take("ice-candidate", detail, detail.candidate));
  }

  /** Joins a room and calls everybody in it; the same arguments and promise as Signaling.join. */
  async join(room, peerId, metadata) {
    const joined = await this.signaling.join(room, peerId, metadata);
    this.#enter(joined);
    return joined;
  }

  /** Hangs up and leaves the room. */
  async leave() {
    for (const peer of [...this.peers.values()]) this.#remove(peer);
    await this.signaling.leave();
  }

  /** Sends this track of a kind ("audio", "video"), or null, to everybody from now on. */
  async send(kind, track) {
    this.tracks[kind] = track;
    await Promise.all([...this.peers.values()].map((peer) => peer.send(kind, track)));
  }

  /** Starts over with everybody not connected: the camera's permission, say, shows the browser addresses it did not know. */
  retry() {
    for (const peer of this.peers.values()) peer.retry();
  }

  /** For Peer: something about it changed. */
  changed(peer) {
    if (this.peers.get(peer.id) !== peer) return;
    if (peer.away && peer.state !== "connected") this.#remove(peer);
    else emit(this, "peer-changed", peer);
  }

  #enter({peer_id, order, peers, ice_servers, resumed}) {
    this.order = order;
    this.iceServers = ice_servers ?? [];
    const others = peers.filter((member) => member.peer_id !== peer_id);
    const present = new Set(others.map((member) => member.peer_id));
    for (const peer of [...this.peers.values()]) if (!present.has(peer.id)) this.#part(peer, false);
    for (const member of others) this.#meet(member, resumed);
  }

  #meet({peer_id, order, metadata}, unnoticed = false) {
    const known = this.peers.get(peer_id);
    const peer = known ?? new Peer(this, peer_id);
    Object.assign(peer, {order, metadata: metadata ?? {}, away: false});
    this.peers.set(peer_id, peer);
    emit(this, known ? "peer-changed" : "peer-added", peer);
    peer.resume(unnoticed);
  }

  #part(peer, onPurpose) {
    if (!peer) return;
    peer.away = true;
    if (onPurpose) this.#remove(peer);
    else this.changed(peer);
  }

  #remove(peer) {
    this.peers.delete(peer.id);
    peer.close();
    emit(this, "peer-removed", peer);
  }
}
