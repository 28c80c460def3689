/** The data channels of a call, by label. */

import {HEARTBEAT_ID, HEARTBEAT_LABEL} from "./pair-heartbeat.js";

const FIRST_ID = 200;
const MAX_ID = 1023; // of Chromium
const MAX_CHANNELS = 50; // labels of a call, and channels of a pair that the other side opens
const MAX_BUFFERED = 8 * 2 ** 20; // bytes that wait on a channel

/**
 * @typedef {string | ArrayBuffer | ArrayBufferView<ArrayBuffer> | Blob} Data
 * @typedef {string | ArrayBuffer} ReceivedData
 * @typedef {{label: string, init: RTCDataChannelInit, agreed: boolean}} ChannelPlan `agreed`: the id is the application's, so
 *   that the other side has the channel, whatever its software
 */

/**
 * Completes the channels of an application: both sides create them with the same ids, unless `negotiated` is false.
 * @param {Record<string, RTCDataChannelInit>} channels
 * @returns {ChannelPlan[]}
 */
export function plan(channels) {
  const labels = Object.keys(channels);
  if (labels.length > MAX_CHANNELS) throw new RangeError(`A call has at most ${MAX_CHANNELS} data channels, not ${labels.length}.`);
  if (labels.includes(HEARTBEAT_LABEL)) throw new TypeError(`The label ${HEARTBEAT_LABEL} is that of the call's own channel.`);
  const plans = labels.map((label, index) => planOne(label, channels[label] ?? {}, FIRST_ID + index));
  for (const {label, init} of plans) {
    if (init.id === HEARTBEAT_ID || Number(init.id) > MAX_ID || plans.some((other) => other.label !== label && shares(other, init))) {
      throw new RangeError(`The id ${init.id} of the data channel ${label} is taken or too high: choose another below ${FIRST_ID}.`);
    }
  }
  return plans;
}

/** @param {ChannelPlan} other @param {RTCDataChannelInit} init */
const shares = (other, {id}) => id !== undefined && other.init.id === id;

/** @param {string} label @param {RTCDataChannelInit} init @param {number} id @returns {ChannelPlan} */
function planOne(label, init, id) {
  if (init.negotiated === false) return {label, init: {...init, id: undefined}, agreed: true};
  return {label, init: {...init, negotiated: true, id: init.id ?? id}, agreed: init.id !== undefined};
}

/** The data channels of one connection. */
export class Channels {
  #onMessage;
  #isAnnounced;
  /** @type {Map<string, {channel: RTCDataChannel, agreed: boolean}>} */
  #channels = new Map();

  /**
   * @param {RTCPeerConnection} pc
   * @param {(label: string, data: ReceivedData) => void} onMessage
   * @param {() => boolean} isAnnounced whether the other side is a call, too, which has channels without an agreed id
   */
  constructor(pc, onMessage, isAnnounced) {
    this.#onMessage = onMessage;
    this.#isAnnounced = isAnnounced;
    pc.ondatachannel = ({channel}) => this.#adopt(channel);
  }

  /** @param {RTCPeerConnection} pc @param {ChannelPlan[]} plans @param {boolean} offers this side opens those that are opened in-band */
  create(pc, plans, offers) {
    for (const {label, init, agreed} of plans) {
      if (init.negotiated || offers) this.#use(pc.createDataChannel(label, init), agreed);
    }
  }

  /**
   * @param {string} label
   * @param {Data} data
   * @returns {boolean} false if the channel is not open, or too much waits on it
   */
  send(label, data) {
    const {channel, agreed} = this.#channels.get(label) ?? {};
    if (channel?.readyState !== "open" || channel.bufferedAmount > MAX_BUFFERED) return false;
    if (!agreed && !this.#isAnnounced()) return false;
    channel.send(/** @type {string} */ (data));
    return true;
  }

  stop() {
    for (const {channel} of this.#channels.values()) channel.onmessage = channel.onclose = null;
    this.#channels.clear();
  }

  /** A channel that the other side has opened. @param {RTCDataChannel} channel */
  #adopt(channel) {
    if (this.#channels.size < 2 * MAX_CHANNELS || this.#channels.has(channel.label)) this.#use(channel, true);
    else channel.close();
  }

  /** @param {RTCDataChannel} channel @param {boolean} agreed */
  #use(channel, agreed) {
    const {label} = channel;
    channel.binaryType = "arraybuffer";
    channel.onmessage = ({data}) => this.#onMessage(label, data);
    channel.onclose = () => this.#channels.get(label)?.channel === channel && this.#channels.delete(label);
    this.#channels.set(label, {channel, agreed});
  }
}
