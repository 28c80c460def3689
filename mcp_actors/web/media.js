/** The local audio and video: camera and microphone, or a generated picture if there is no camera. */

import {hueOf, initialsOf} from "./names.js";

const WIDTH = 640;
const HEIGHT = 360;
const FRAMES_PER_SECOND = 15;
const CAMERA = {width: {ideal: 640}, height: {ideal: 360}, frameRate: {ideal: 24}}; // small: it is sent to each peer separately
const MICROPHONE = {echoCancellation: true, noiseSuppression: true, autoGainControl: true};

/** An animated picture with a name and a clock, which needs no device and no permission. */
class GeneratedPicture {
  #hue;
  #canvas = Object.assign(document.createElement("canvas"), {width: WIDTH, height: HEIGHT});
  #context = this.#canvas.getContext("2d", {alpha: false});
  #ticker = new Worker(new URL("./ticker.js", import.meta.url));

  constructor(id, name) {
    this.#hue = hueOf(id);
    this.name = name;
    this.#ticker.onmessage = () => this.#draw();
    this.#draw();
    /** @type {MediaStreamTrack} */
    this.track = this.#canvas.captureStream(FRAMES_PER_SECOND).getVideoTracks()[0];
    this.track.contentHint = "detail";
  }

  start() {
    this.#ticker.postMessage(1000 / FRAMES_PER_SECOND);
  }

  stop() {
    this.#ticker.postMessage(0);
  }

  #draw() {
    const context = this.#context;
    const hue = this.#hue + 20 * Math.sin(performance.now() / 1000);
    const background = context.createLinearGradient(0, 0, WIDTH, HEIGHT);
    background.addColorStop(0, `oklch(0.48 0.1 ${hue})`);
    background.addColorStop(1, `oklch(0.25 0.07 ${hue + 60})`);
    context.fillStyle = background;
    context.fillRect(0, 0, WIDTH, HEIGHT);
    this.#write(initialsOf(this.name), 120, 90);
    this.#write(this.name, 220, 36);
    this.#write(new Date().toLocaleTimeString(), 270, 24);
  }

  #write(text, y, size) {
    const context = this.#context;
    context.font = `600 ${size}px system-ui, sans-serif`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.fillStyle = "white";
    context.fillText(text, WIDTH / 2, y, HEIGHT * 1.2); // the page may crop the sides
  }
}

/**
 * The local audio and video track.
 *
 * Event "changed": `audio`, `video`, `source` or `muted` has changed.
 */
export class LocalMedia extends EventTarget {
  #picture;
  #devices = null; // the MediaStream of camera and microphone

  /**
   * @param {string} id determines the colour of the generated picture
   * @param {string} name written on the generated picture
   */
  constructor(id, name) {
    super();
    this.#picture = new GeneratedPicture(id, name);
    this.#picture.start();
    /** The video without sound, for the local tile. */
    this.preview = new MediaStream([this.#picture.track]);
    /** @type {"generated" | "camera"} */
    this.source = "generated";
    this.muted = false;
  }

  /** @type {MediaStreamTrack} */
  get video() {
    return (this.source === "camera" && this.#devices?.getVideoTracks()[0]) || this.#picture.track;
  }

  /** @type {MediaStreamTrack | null} null without a microphone */
  get audio() {
    return this.#devices?.getAudioTracks()[0] ?? null;
  }

  set name(name) {
    this.#picture.name = name;
  }

  /**
   * Asks for camera and microphone, and uses those that exist.
   * @param {boolean} [camera] false asks for the microphone only
   * @throws {DOMException | Error} if there are none or the person refuses; the current tracks stay in use
   */
  async useDevices(camera = true) {
    const stream = await this.#request(camera);
    this.#stopDevices();
    this.#devices = stream;
    for (const track of stream.getTracks()) track.onended = () => this.#ended(stream, track);
    this.source = stream.getVideoTracks().length ? "camera" : "generated";
    this.#changed();
  }

  /** Stops the camera and uses the generated picture; the microphone stays in use. */
  useGenerated() {
    for (const track of this.#devices?.getVideoTracks() ?? []) {
      track.stop();
      this.#devices.removeTrack(track);
    }
    this.source = "generated";
    this.#changed();
  }

  mute(muted) {
    this.muted = muted;
    this.#changed();
  }

  /** Stops camera and microphone. */
  release() {
    this.#stopDevices();
    this.source = "generated";
    this.#changed();
  }

  async #request(camera) {
    if (!navigator.mediaDevices?.getUserMedia) {
      throw new Error("browsers allow access to the camera only on https: pages and on localhost");
    }
    const request = (constraints) => navigator.mediaDevices.getUserMedia(constraints);
    if (!camera) return request({audio: MICROPHONE});
    try {
      return await request({audio: MICROPHONE, video: CAMERA});
    } catch (error) {
      if (error.name !== "NotFoundError") throw error;
      return request({video: CAMERA}).catch(() => request({audio: MICROPHONE})); // one of the two is missing
    }
  }

  /** The device was unplugged, or its permission revoked. */
  #ended(stream, track) {
    if (stream !== this.#devices) return;
    stream.removeTrack(track);
    if (track.kind === "video") this.source = "generated";
    this.#changed();
  }

  #stopDevices() {
    for (const track of this.#devices?.getTracks() ?? []) track.stop();
    this.#devices = null;
  }

  #changed() {
    if (this.source === "generated") this.#picture.start();
    else this.#picture.stop();
    if (this.audio) this.audio.enabled = !this.muted;
    for (const track of this.preview.getTracks()) if (track !== this.video) this.preview.removeTrack(track);
    this.preview.addTrack(this.video);
    this.dispatchEvent(new Event("changed"));
  }
}
