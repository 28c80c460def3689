/** The tracks that a call sends to all pairs, and those that a pair receives. */

/** @typedef {"audio" | "video" | "screen"} Kind */

/** @param {RTCPeerConnection} pc @param {string} kind @returns {RTCRtpTransceiver[]} */
const transceiversOf = (pc, kind) => pc.getTransceivers().filter(({receiver}) => receiver.track.kind === kind);

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
    for (const kind of /** @type {const} */ (["audio", "video"])) if (this.#tracks[kind] !== undefined) this.#send(pc, kind, offers);
    if (this.#tracks.screen) void this.#sendScreen(pc);
  }

  /** Sends another track of this kind on these connections, or none. @param {Kind} kind @param {MediaStreamTrack | null} track @param {RTCPeerConnection[]} pcs */
  async replace(kind, track, pcs) {
    this.#tracks[kind] = track;
    const attached = pcs.filter((pc) => this.#attached.has(pc) && pc.signalingState !== "closed");
    await Promise.all(attached.map((pc) => (kind === "screen" ? this.#sendScreen(pc) : this.#send(pc, kind, track !== null))));
  }

  /** @param {RTCPeerConnection} pc @param {"audio" | "video"} kind @param {boolean} adds whether to add what is missing */
  async #send(pc, kind, adds) {
    const track = this.#tracks[kind] ?? null;
    const transceiver = transceiversOf(pc, kind).find((one) => one !== this.#screens.get(pc));
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
