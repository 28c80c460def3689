/** What we send: the camera and microphone or, where there are none, a generated picture. */

import {hueOf, initialsOf} from "./names.js";

const WIDTH = 640;
const HEIGHT = 360;
const FRAMES_PER_SECOND = 15;
const CAMERA = {width: {ideal: 640}, height: {ideal: 360}, frameRate: {ideal: 24}}; // sent once to each peer: keep it small
const MICROPHONE = {echoCancellation: true, noiseSuppression: true, autoGainControl: true};

/** An animated picture with a name and a clock: needs no device and no permission. */
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
    const seconds = performance.now() / 1000;
    const hue = this.#hue + 10 * Math.sin(seconds / 4);
    const sky = context.createLinearGradient(0, 0, WIDTH, HEIGHT);
    sky.addColorStop(0, `oklch(0.42 0.09 ${hue})`);
    sky.addColorStop(1, `oklch(0.25 0.07 ${hue + 45})`);
    context.fillStyle = sky;
    context.fillRect(0, 0, WIDTH, HEIGHT);
    this.#drawWaves(seconds, hue);
    this.#drawBadge(seconds, hue);
    this.#drawText();
  }

  #drawWaves(seconds, hue) {
    const context = this.#context;
    for (let wave = 0; wave < 3; wave++) {
      context.fillStyle = `oklch(0.75 0.12 ${hue + 20 * wave} / 0.1)`;
      context.beginPath();
      context.moveTo(0, HEIGHT);
      for (let x = 0; x <= WIDTH; x += 16) {
        context.lineTo(x, 250 + 26 * wave + 22 * Math.sin(x / (90 + 25 * wave) + seconds * (0.9 + 0.35 * wave)));
      }
      context.lineTo(WIDTH, HEIGHT);
      context.fill();
    }
  }

  #drawBadge(seconds, hue) {
    const context = this.#context;
    const [x, y, radius] = [WIDTH / 2, 128, 62];
    context.fillStyle = `oklch(0.54 0.13 ${hue})`;
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    context.fill();
    const start = (seconds % 60) * 2 * Math.PI * 0.25;
    context.strokeStyle = "rgb(255 255 255 / 0.85)";
    context.lineWidth = 5;
    context.lineCap = "round";
    context.beginPath();
    context.arc(x, y, radius + 9, start, start + 1.6);
    context.stroke();
    this.#write(initialsOf(this.name), y + 2, 50, 600);
  }

  #drawText() {
    this.#write(this.name, 238, 34, 600);
    this.#write(new Date().toLocaleTimeString(), 280, 24, 400, 0.8);
  }

  #write(text, y, size, weight, opacity = 1) {
    const context = this.#context;
    context.font = `${weight} ${size}px system-ui, sans-serif`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.fillStyle = `rgb(255 255 255 / ${opacity})`;
    context.fillText(text, WIDTH / 2, y, HEIGHT * 1.2); // the page may crop the sides
  }
}

/**
 * Our own audio and video track.
 *
 * Event "changed": `audio`, `video`, `source` or `muted` is another one now.
 */
export class LocalMedia extends EventTarget {
  #picture;
  #camera = null;

  /**
   * @param {string} id decides the colour of the picture
   * @param {string} name written on it
   */
  constructor(id, name) {
    super();
    this.#picture = new GeneratedPicture(id, name);
    this.#picture.start();
    /** For the page's own view of us; it never has sound. */
    this.preview = new MediaStream([this.#picture.track]);
    /** @type {"generated" | "camera"} */
    this.source = "generated";
    /** Whether the microphone is switched off. */
    this.muted = false;
  }

  /** @type {MediaStreamTrack} */
  get video() {
    return (this.source === "camera" && this.#camera?.getVideoTracks()[0]) || this.#picture.track;
  }

  /** @type {MediaStreamTrack | null} null where there is no microphone: then nothing is sent */
  get audio() {
    return this.#camera?.getAudioTracks()[0] ?? null;
  }

  /** Writes another name on the generated picture. */
  set name(name) {
    this.#picture.name = name;
  }

  /**
   * Asks for camera and microphone, whichever there are, and uses them.
   * @param {boolean} [filming] false asks for the microphone only
   * @throws {DOMException | Error} where there are none or they are refused; what was used before stays in use
   */
  async useCamera(filming = true) {
    const stream = await this.#ask(filming);
    this.#drop();
    this.#camera = stream;
    for (const track of stream.getTracks()) track.onended = () => this.#lost(stream, track);
    this.source = stream.getVideoTracks().length ? "camera" : "generated";
    this.#changed();
  }

  /** Uses the generated picture and lets go of the camera; the microphone stays. */
  useGenerated() {
    for (const track of this.#camera?.getVideoTracks() ?? []) {
      track.stop();
      this.#camera.removeTrack(track);
    }
    this.source = "generated";
    this.#changed();
  }

  /** Switches the microphone off or on. */
  mute(muted) {
    this.muted = muted;
    this.#changed();
  }

  /** Lets go of every device. */
  release() {
    this.#drop();
    this.source = "generated";
    this.#changed();
  }

  async #ask(filming) {
    if (!navigator.mediaDevices?.getUserMedia) {
      throw new Error("Browsers give access to the camera only on https: pages and on localhost.");
    }
    const ask = (constraints) => navigator.mediaDevices.getUserMedia(constraints);
    if (!filming) return ask({audio: MICROPHONE});
    try {
      return await ask({audio: MICROPHONE, video: CAMERA});
    } catch (error) {
      if (error.name !== "NotFoundError") throw error;
      return ask({video: CAMERA}).catch(() => ask({audio: MICROPHONE})); // one of the two is missing
    }
  }

  /** A device was unplugged, or its permission taken back. */
  #lost(stream, track) {
    if (stream !== this.#camera) return;
    stream.removeTrack(track);
    if (track.kind === "video") this.source = "generated";
    this.#changed();
  }

  #drop() {
    for (const track of this.#camera?.getTracks() ?? []) track.stop();
    this.#camera = null;
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
