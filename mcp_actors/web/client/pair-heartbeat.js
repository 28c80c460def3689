/** The heartbeat of a pair: both sides say each second over a data channel that they are there. See "Pairs" in PROTOCOL.md. */

import {bytesReceived} from "./pair-stats.js";

/** The stream of the channel: all stacks have it from the start, and channels that are opened in-band do not meet it. */
export const HEARTBEAT_ID = 255;
export const HEARTBEAT_LABEL = "mcp-actors.heartbeat";

// Durations are in milliseconds.
const INTERVAL = 1000;
const CHECK = 500;
const SILENCE = 2500;
const DOUBTFUL = 1500; // from here on, anything else that arrives is noted
const MAX_SILENCE = 10_000; // however much else arrives: the page of the other side may only be busy for so long
const PROBE = 1500; // what is left to be heard after a change of the network, or sleep
const AFTER_HEALING = 5000; // SCTP may pause for three seconds after an outage
const LATE = 1000; // a timer that fires later than this was held up
const MAX_BUFFERED = 64; // bytes: pings that wait for a path are enough

const PING = "ping"; // also while this side does not know yet whether it hears the other
const LOST = "lost"; // in its place: this side does not hear the other any more

/**
 * @typedef {object} HeartbeatEvents
 * @property {() => boolean} isAnnounced whether the other side knows the channel
 * @property {() => void} onHeard
 * @property {() => void} onUnheard the other side is heard, and says that it does not hear this one
 * @property {(since: number) => void} onSilent called once, with the time (of performance.now) since when nothing was heard
 * @property {() => void} onClosed the other side has closed its connection, or SCTP has given up
 */

export class PairHeartbeat {
  #pc;
  #events;
  #channel;
  #timer = 0;
  #due = 0;
  #pingDue = 0;
  #heard = false;
  #heardAt = 0;
  #silent = false;
  #bytes = -1; // received in total, when the silence became doubtful and later
  #bytesAt = 0; // when they became more

  /** @param {RTCPeerConnection} pc that has not been negotiated yet @param {HeartbeatEvents} events */
  constructor(pc, events) {
    this.#pc = pc;
    this.#events = events;
    this.#channel = pc.createDataChannel(HEARTBEAT_LABEL, {
      negotiated: true,
      id: HEARTBEAT_ID,
      ordered: false,
      maxRetransmits: 0,
    });
    this.#channel.onopen = () => this.#tick();
    this.#channel.onmessage = ({data}) => this.#hear(data === LOST);
    this.#channel.onclose = () => this.#close();
  }

  /** Whether the channel was open and is closed now. */
  get closed() {
    return this.#channel.readyState === "closed";
  }

  /** When the other side was heard last, in the time of performance.now; -Infinity if never. */
  get heardAt() {
    return this.#heard ? this.#heardAt : -Infinity;
  }

  /** Gives the other side little time to be heard: the network has changed. */
  probe() {
    this.#heardAt = Math.min(this.#heardAt, performance.now() + PROBE - SILENCE);
    this.#pingDue = 0;
    if (this.#timer) this.#tick();
  }

  /** Gives the other side time to be heard again, as the path is back. */
  expect() {
    this.#heardAt = performance.now() + AFTER_HEALING - SILENCE;
    this.#silent = false;
    this.#bytes = -1;
  }

  /** The connection is closed, or about to be. */
  stop() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.#channel.onopen = this.#channel.onmessage = this.#channel.onclose = null;
  }

  #close() {
    this.stop();
    this.#events.onClosed();
  }

  /** @param {boolean} isUnheard */
  #hear(isUnheard) {
    const waits = this.#silent || isUnheard; // the other side, to be told that it is heard
    this.#heard = true;
    this.#heardAt = performance.now();
    this.#silent = false;
    this.#bytes = -1;
    if (waits) this.#ping(this.#heardAt);
    if (isUnheard) this.#events.onUnheard();
    else this.#events.onHeard();
  }

  #tick() {
    if (this.closed) return this.#close(); // by this side, without an event
    const now = performance.now();
    if (this.#timer && now - this.#due > LATE) this.#afterDelay(now);
    clearTimeout(this.#timer);
    this.#due = now + CHECK;
    this.#timer = setTimeout(() => this.#tick(), CHECK);
    if (now >= this.#pingDue) this.#ping(now);
    if (this.#heard && !this.#silent && now - this.#heardAt > DOUBTFUL) void this.#doubt(this.#heardAt);
  }

  /** What has arrived meanwhile may still wait to be handled. @param {number} now */
  #afterDelay(now) {
    this.#heardAt = Math.max(this.#heardAt, now + PROBE - SILENCE);
    this.#pingDue = 0;
  }

  /** @param {number} now */
  #ping(now) {
    this.#pingDue = now + INTERVAL - CHECK / 2;
    if (!this.#events.isAnnounced() || this.#channel.readyState !== "open") return;
    if (this.#channel.bufferedAmount < MAX_BUFFERED) this.#channel.send(this.#silent ? LOST : PING);
  }

  /** @param {number} heardAt */
  async #doubt(heardAt) {
    const bytes = await bytesReceived(this.#pc);
    if (heardAt !== this.#heardAt || this.#silent || !this.#timer) return;
    const now = performance.now();
    this.#bytesAt = this.#bytes < 0 ? heardAt : bytes > this.#bytes ? now : this.#bytesAt;
    this.#bytes = bytes;
    if (now - this.#bytesAt < SILENCE && now - heardAt < MAX_SILENCE) return;
    this.#silent = true;
    this.#ping(now);
    this.#events.onSilent(heardAt);
  }
}
