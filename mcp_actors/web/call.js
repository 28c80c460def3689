/**
 * A mesh call: one RTCPeerConnection to every other peer of the room, negotiated over Signaling.
 *
 * Of two peers the one with the higher `order` is the polite one: it makes the first offer, yields when both offer at once, and
 * restarts ICE when the path for media breaks, or goes over a TURN server whose credentials were renewed. Media does not depend on signaling: a peer that has lost its signaling connection
 * stays in the call, marked `away`, for as long as its media flows.
 */

import {emit} from "./transport.js";

const LEFT_ON_PURPOSE = new Set(["left", "kicked", "room-closed"]);
const MAX_HELD_CANDIDATES = 100;
const MAX_ATTEMPTS = 4;
// Either the room is joined again, which restarts negotiation where necessary, or nobody waits for the message any more.
const NEEDS_NO_REACTION = new Set([
  ...["connection-lost", "unknown", "timeout", "closed", "cancelled"],
  ...["not-in-room", "peer-not-found", "stale-negotiation"],
]);
const REPLACED = Symbol("the RTCPeerConnection was replaced");

const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** The session id in the origin line of an SDP: it changes with the RTCPeerConnection. */
const sessionOf = (description) => /^o=\S+ (\d+)/m.exec(description.sdp)?.[1];

/** The complete origin line, with its version: it changes with the description. */
const originOf = (description) => /^o=.*$/m.exec(description?.sdp)?.[0];

/** Sends a message again while the error is retryable and it is still wanted; returns an error that ends the attempts. */
async function deliver(send, isWanted) {
  for (let attempt = 1; isWanted(); attempt++) {
    try {
      await send();
      return null;
    } catch (error) {
      if (NEEDS_NO_REACTION.has(error.code)) return null;
      if (!error.retryable || attempt === MAX_ATTEMPTS) return error;
      await sleep(500 * attempt);
    }
  }
  return null;
}

/** Whether media goes, or went a moment ago, over a TURN server. */
async function isRelayed(pc) {
  const stats = await pc.getStats();
  const ends = [...stats.values()]
    .filter(({type, nominated, state}) => type === "candidate-pair" && nominated && state === "succeeded")
    .flatMap(({localCandidateId, remoteCandidateId}) => [localCandidateId, remoteCandidateId]);
  return ends.some((id) => stats.get(id)?.candidateType === "relay");
}

/** Another peer of the call. */
export class Peer {
  #call;
  #queue = Promise.resolve();
  #replaced; // rejected by `#replace` when this side starts over
  #replace;
  #attached = false;
  #offering = false;
  #ignoring = false;
  #heldCandidates = [];
  #session;
  #offers = {last: 0, applied: 0}; // numbers: of the peer's last offer, and of the offer whose description is set

  constructor(call, id) {
    this.#call = call;
    this.id = id;
    /** The server's join counter. */
    this.order = 0;
    /** Written by a stranger. */
    this.metadata = {};
    /** Whether its signaling connection is lost (its media may be fine). */
    this.away = false;
    /** Why there is no call, as far as the server refuses it: {code, message}, or null. `message` is absent if it is the peer's. */
    this.problem = null;
    this.#open();
  }

  /** Whether this side yields, and makes the first offer. */
  get polite() {
    return this.#call.order > this.order;
  }

  /** @type {RTCPeerConnectionState} */
  get state() {
    return this.pc.connectionState;
  }

  /** Makes an offer, on a new RTCPeerConnection if this one was used before. */
  offer() {
    if (this.#attached) this.#reopen();
    this.#attach();
  }

  /**
   * Continues after a loss of signaling on either side: a connected RTCPeerConnection is kept.
   * `unnoticed`: messages to this side were lost without the peer knowing, so the peer will not start over.
   */
  resume(unnoticed = false) {
    this.#offers = {last: 0, applied: 0}; // numbers start again with each join
    if (this.state !== "connected") {
      if (this.polite || unnoticed) this.offer();
    } else if (this.pc.signalingState === "have-local-offer") {
      this.#send("offer", this.pc.localDescription); // it was lost, or its answer was
    }
  }

  /** Starts over if there is no connection. */
  retry() {
    if (this.#attached && this.state !== "connected") this.offer();
  }

  /** Uses the ICE servers of the call, whose credentials were renewed, from the next restart of ICE on. */
  async renewIceServers() {
    const {pc} = this;
    pc.setConfiguration({...pc.getConfiguration(), iceServers: this.#call.iceServers});
    if (this.polite && (await isRelayed(pc)) && pc === this.pc) pc.restartIce();
  }

  /** Notes that the server has refused a description, of this side or of the peer; or, with null, that one arrived. */
  fail(problem) {
    if (this.problem === problem) return;
    this.problem = problem;
    this.#call.changed(this);
  }

  /** Handles a description or candidate of the peer, one after the other; `negotiation` is the number of the offer. */
  receive(kind, value, negotiation) {
    const offers = this.#offers;
    if (kind !== "ice-candidate") this.fail(null);
    if (kind === "offer" && negotiation) offers.last = Math.max(offers.last, negotiation);
    this.#enqueue({kind, value, negotiation, offers, pc: this.pc});
  }

  /** Sends another track, or none; needs no negotiation. */
  async replaceTrack(kind, track) {
    if (!this.#attached) return;
    const transceivers = this.pc.getTransceivers().filter(({receiver}) => receiver.track.kind === kind);
    await Promise.all(transceivers.map(({sender}) => sender.replaceTrack(track)));
  }

  #open() {
    const pc = new RTCPeerConnection({iceServers: this.#call.iceServers});
    /** Replaced when one of the two sides starts over. */
    this.pc = pc;
    this.#replaced = new Promise((_, reject) => (this.#replace = () => reject(REPLACED)));
    this.#replaced.catch(() => {});
    /** The media of the peer. */
    this.stream = new MediaStream();
    pc.ontrack = ({track}) => this.stream.addTrack(track);
    pc.onicecandidate = ({candidate}) => this.#send("candidate", candidate);
    pc.onnegotiationneeded = () => this.#negotiate(pc);
    pc.onconnectionstatechange = () => this.#stateChanged(pc);
  }

  #reopen() {
    this.pc.close();
    this.#replace();
    this.#attached = this.#offering = this.#ignoring = false;
    this.#heldCandidates = [];
    this.#session = undefined;
    this.#open();
    this.#call.changed(this);
  }

  /** Adds the local tracks: on the polite side before its offer, on the other before its answer. */
  #attach() {
    this.#attached = true;
    const transceivers = this.pc.getTransceivers();
    for (const [kind, track] of Object.entries(this.#call.tracks)) {
      if (this.pc.remoteDescription === null) this.pc.addTransceiver(track ?? kind, {direction: "sendrecv"});
      for (const transceiver of transceivers.filter(({receiver}) => receiver.track.kind === kind)) {
        transceiver.direction = "sendrecv";
        transceiver.sender.replaceTrack(track);
      }
    }
  }

  async #negotiate(pc) {
    try {
      this.#offering = true;
      await pc.setLocalDescription();
      if (pc === this.pc) this.#send(pc.localDescription.type, pc.localDescription);
    } catch (error) {
      console.warn(`No offer to ${this.id}: ${error.name}`);
    } finally {
      if (pc === this.pc) this.#offering = false;
    }
  }

  #enqueue(received) {
    this.#queue = this.#queue
      .then(() => this.#handle(received))
      .catch((error) => console.warn(`${received.kind} of ${this.id} not used: ${error.name}`));
  }

  async #handle(received) {
    try {
      await (received.kind === "ice-candidate" ? this.#receiveCandidate(received) : this.#receiveDescription(received));
    } catch (error) {
      if (error !== REPLACED) throw error;
      await this.#handle(received);
    }
  }

  /** Waits for an operation of the current RTCPeerConnection: once that is closed, the promise would never be settled. */
  #unlessReplaced(operation) {
    return Promise.race([operation, this.#replaced]);
  }

  async #receiveDescription({value: description, negotiation, offers, pc: previous}) {
    if (description.type === "offer" && negotiation < offers.last) return undefined; // a newer one is in the queue
    if (description.type === "answer" && previous !== this.pc) return undefined; // to an offer of a replaced connection
    const session = sessionOf(description);
    if (this.#session !== undefined && session !== this.#session) {
      // The peer has started over, so must we. An answer means that it no longer knew the connection of our offer.
      this.#reopen();
      if (description.type === "answer") return this.#attach();
    }
    const weOffer = this.#offering || this.pc.signalingState !== "stable" || (this.#attached && this.#session === undefined);
    const glare = description.type === "offer" && weOffer;
    this.#ignoring = glare && !this.polite;
    if (this.#ignoring) return undefined;
    if (glare && this.#session === undefined) this.#reopen(); // rolling back a first offer would leave its transceivers behind
    const pc = this.pc;
    await this.#unlessReplaced(pc.setRemoteDescription(description)); // rolls back our own offer
    this.#session = session;
    if (negotiation) offers.applied = negotiation;
    for (const received of this.#heldCandidates.splice(0)) this.#enqueue(received);
    if (description.type !== "offer") return undefined;
    if (!this.#attached) this.#attach();
    await this.#unlessReplaced(pc.setLocalDescription());
    return this.#send("answer", pc.localDescription, negotiation);
  }

  async #receiveCandidate(received) {
    const {pc} = this;
    const {value: candidate, negotiation, offers} = received;
    if (negotiation < offers.applied) return; // of an outdated description
    const generation = candidate?.usernameFragment;
    const known = pc.remoteDescription && (!generation || pc.remoteDescription.sdp.includes(`a=ice-ufrag:${generation}`));
    if (known && candidate) await this.#unlessReplaced(pc.addIceCandidate(candidate));
    else if (!known && !this.#ignoring && this.#heldCandidates.length < MAX_HELD_CANDIDATES) this.#heldCandidates.push(received);
  }

  async #send(method, value, negotiation) {
    const {pc} = this;
    const isWanted = () => pc === this.pc && (method === "candidate" || originOf(pc.localDescription) === originOf(value));
    const error = await deliver(() => this.#call.signaling[method](this.id, value, negotiation), isWanted);
    if (method === "candidate" || !isWanted()) return;
    this.fail(error && {code: error.code, message: error.message});
    // The peer cannot know why it waits in vain.
    if (error) this.#call.signaling.signal(this.id, {callProblem: {code: error.code}}).catch(() => {});
  }

  #stateChanged(pc) {
    if (pc !== this.pc) return;
    if (pc.connectionState === "connected") this.problem = null;
    if (["disconnected", "failed"].includes(pc.connectionState) && this.polite) pc.restartIce();
    this.#call.changed(this);
  }
}

/** Events with the Peer as `detail`: "peer-added", "peer-changed" (metadata, stream, state, away or problem), "peer-removed". */
export class Call extends EventTarget {
  /** @param {import("./signaling.js").Signaling} signaling */
  constructor(signaling) {
    super();
    this.signaling = signaling;
    /** @type {Map<string, Peer>} */
    this.peers = new Map();
    /** The local tracks, by kind. */
    this.tracks = {audio: null, video: null};
    /** @type {RTCIceServer[]} */
    this.iceServers = [];
    /** The local peer's join counter. */
    this.order = 0;

    const on = (type, handle) => signaling.addEventListener(type, ({detail}) => handle(detail));
    on("rejoined", (joined) => this.#joined(joined));
    on("ice-servers", ({ice_servers}) => this.#renewIceServers(ice_servers));
    on("peer-joined", (member) => this.#add(member));
    on("peer-updated", ({peer_id, metadata}) => this.#updated(this.peers.get(peer_id), metadata));
    on("signal", ({sender, data}) => {
      if (typeof data?.callProblem?.code === "string") this.peers.get(sender)?.fail({code: data.callProblem.code});
    });
    on("peer-left", ({peer_id, reason}) => this.#left(this.peers.get(peer_id), LEFT_ON_PURPOSE.has(reason)));
    for (const [kind, field] of Object.entries({offer: "offer", answer: "answer", "ice-candidate": "candidate"})) {
      on(kind, (detail) => this.peers.get(detail.sender)?.receive(kind, detail[field], detail.negotiation));
    }
  }

  /** Joins a room and calls everybody in it; arguments and result are those of Signaling.join. */
  async join(room, peerId, metadata) {
    const joined = await this.signaling.join(room, peerId, metadata);
    this.#joined(joined);
    return joined;
  }

  async leave() {
    for (const peer of [...this.peers.values()]) this.#remove(peer);
    await this.signaling.leave();
  }

  /** Sends this track of a kind ("audio", "video"), or null, to everybody from now on. */
  async replaceTrack(kind, track) {
    this.tracks[kind] = track;
    await Promise.all([...this.peers.values()].map((peer) => peer.replaceTrack(kind, track)));
  }

  /** Starts over with every peer that is not connected. */
  retry() {
    for (const peer of this.peers.values()) peer.retry();
  }

  /** For Peer: something about it has changed. */
  changed(peer) {
    if (this.peers.get(peer.id) !== peer) return;
    if (peer.away && peer.state !== "connected") this.#remove(peer);
    else emit(this, "peer-changed", peer);
  }

  #joined({peer_id, order, peers, ice_servers, resumed}) {
    this.order = order;
    this.iceServers = ice_servers ?? [];
    const others = peers.filter((member) => member.peer_id !== peer_id);
    const present = new Set(others.map((member) => member.peer_id));
    for (const peer of [...this.peers.values()]) if (!present.has(peer.id)) this.#left(peer, false);
    for (const member of others) this.#add(member, resumed);
  }

  #renewIceServers(iceServers) {
    this.iceServers = iceServers;
    for (const peer of this.peers.values()) peer.renewIceServers();
  }

  #add({peer_id, order, metadata}, unnoticed = false) {
    const known = this.peers.get(peer_id);
    const peer = known ?? new Peer(this, peer_id);
    Object.assign(peer, {order, metadata: metadata ?? {}, away: false});
    this.peers.set(peer_id, peer);
    emit(this, known ? "peer-changed" : "peer-added", peer);
    peer.resume(unnoticed);
  }

  #updated(peer, metadata) {
    if (!peer) return;
    peer.metadata = metadata ?? {};
    this.changed(peer);
  }

  #left(peer, onPurpose) {
    if (!peer) return;
    peer.away = true;
    if (onPurpose) this.#remove(peer);
    else this.changed(peer);
  }

  #remove(peer) {
    this.peers.delete(peer.id);
    peer.pc.close();
    emit(this, "peer-removed", peer);
  }
}
