/** The tracks that a call sends to all pairs, and those that a pair receives. */

/** @typedef {"audio" | "video" | "screen"} Kind */

/** Where a transceiver stands in descriptions: behind all others until it is negotiated. @param {RTCRtpTransceiver} transceiver */
const place = ({mid}) => (mid === null ? Infinity : Number(mid) || 0);

/**
 * The transceivers of a kind. Both sides have them in the same order; the first one is the microphone's, or the camera's.
 * @param {RTCPeerConnection} pc
 * @param {string} kind
 * @returns {RTCRtpTransceiver[]}
 */
const transceiversOf = (pc, kind) =>
  pc.getTransceivers().filter(({receiver}) => receiver.track.kind === kind).sort((one, other) => place(one) - place(other));

/** @param {RTCRtpTransceiver} transceiver @param {boolean} sends */
function turn(transceiver, sends) {
  const receives = transceiver.direction === "sendrecv" || transceiver.direction === "recvonly";
  const direction = sends ? (receives ? "sendrecv" : "sendonly") : receives ? "recvonly" : "inactive";
  if (transceiver.direction !== direction) transceiver.direction = direction;
}

/** The tracks of this side. A kind that is undefined is not negotiated until there is a track. */
export class LocalTracks {
  /** @type {Record<Kind, MediaStreamTrack | null | undefined>} */
  #tracks;
  /** @type {WeakMap<RTCPeerConnection, RTCRtpTransceiver>} */
  #screens = new WeakMap();
  #attached = new WeakSet();
  // They only have ids: those by which the other side tells the screen from the camera, if it is of another kind.
  #camera = new MediaStream();
  #display = new MediaStream();

  /** @param {MediaStreamTrack | null} [audio] @param {MediaStreamTrack | null} [video] */
  constructor(audio, video) {
    this.#tracks = {audio, video, screen: null};
  }

  /** Adds the tracks to a connection before this side's first offer or answer. @param {RTCPeerConnection} pc @param {boolean} offers */
  attach(pc, offers) {
    this.#attached.add(pc);
    const kinds = /** @type {const} */ (["audio", "video"]).filter((kind) => this.#tracks[kind] !== undefined);
    const sent = [...kinds.map((kind) => this.#send(pc, kind, offers)), this.#sendScreen(pc)];
    Promise.all(sent).catch(() => {}); // closed meanwhile
  }

  /**
   * Keeps the track of a kind; `update` sends it.
   * @param {Kind} kind
   * @param {MediaStreamTrack | null} track
   */
  replace(kind, track) {
    this.#tracks[kind] = track;
  }

  /**
   * Sends the track of a kind on a connection, unless it has none yet.
   * @param {RTCPeerConnection} pc
   * @param {Kind} kind
   */
  async update(pc, kind) {
    if (!this.#attached.has(pc) || pc.signalingState === "closed") return;
    await (kind === "screen" ? this.#sendScreen(pc) : this.#send(pc, kind, false));
  }

  /** @param {RTCPeerConnection} pc @param {"audio" | "video"} kind @param {boolean} adds whether to add what is missing */
  async #send(pc, kind, adds) {
    const track = this.#tracks[kind] ?? null;
    const [transceiver] = transceiversOf(pc, kind);
    if (transceiver) {
      transceiver.sender.setStreams?.(this.#camera);
      turn(transceiver, true);
      await transceiver.sender.replaceTrack(track);
    } else if (adds || track) {
      pc.addTransceiver(track ?? kind, {direction: "sendrecv", streams: [this.#camera]});
    }
  }

  /** @param {RTCPeerConnection} pc */
  async #sendScreen(pc) {
    const track = this.#tracks.screen ?? null;
    const transceiver = this.#screens.get(pc);
    if (transceiver) {
      turn(transceiver, track !== null);
      await transceiver.sender.replaceTrack(track);
    } else if (track) {
      if (transceiversOf(pc, "video").length === 0) pc.addTransceiver("video", {direction: "inactive"}); // the camera's place
      this.#screens.set(pc, pc.addTransceiver(track, {direction: "sendonly", streams: [this.#display]}));
    }
  }
}

/** What one connection receives: audio and the first video are the camera's, a further video is a screen. */
export class ReceivedTracks {
  #pc;
  #changed;
  stream = new MediaStream();
  /** @type {MediaStream | null} */
  screen = null;

  /** @param {RTCPeerConnection} pc @param {() => void} changed */
  constructor(pc, changed) {
    this.#pc = pc;
    this.#changed = changed;
    pc.ontrack = (event) => this.#add(event);
  }

  /** Notes, after a negotiation, that the screen is no longer shared. */
  update() {
    const screens = transceiversOf(this.#pc, "video").slice(1);
    const receives = screens.some(({currentDirection}) => currentDirection === "recvonly" || currentDirection === "sendrecv");
    if (this.screen === null || receives) return;
    this.screen = null;
    this.#changed();
  }

  /** @param {RTCTrackEvent} event */
  #add({track, transceiver}) {
    if (track.kind === "video" && transceiver !== transceiversOf(this.#pc, "video")[0]) this.screen = new MediaStream([track]);
    else this.stream.addTrack(track);
    this.#changed();
  }
}
