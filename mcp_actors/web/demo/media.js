/** The local audio and video: camera, microphone and screen, each only while it is wanted. */

import {GeneratedPicture} from "./picture.js";

const CAMERA = {width: {ideal: 640}, height: {ideal: 360}, frameRate: {ideal: 24}}; // small: it is sent to each peer separately
const MICROPHONE = {echoCancellation: true, noiseSuppression: true, autoGainControl: true};
const SCREEN = {video: {frameRate: {ideal: 10, max: 15}}, audio: false};

/** The browser gives pages no device: the page was not loaded over https or from localhost. */
class SecureContextError extends Error {
  name = "SecureContextError";
}

/** Event "changed": `audio`, `video`, `shared`, `source` or `muted` has changed. */
export class LocalMedia extends EventTarget {
  #picture;
  #tracks = {camera: null, microphone: null, screen: null};
  #requests = {camera: 0, microphone: 0, screen: 0};

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
    /** The local screen, or null. @type {MediaStream | null} */
    this.shared = null;
    /** Whether the microphone is silent, though there is one. */
    this.muted = false;
  }

  /** @type {"generated" | "camera"} */
  get source() {
    return this.#tracks.camera ? "camera" : "generated";
  }

  /** @type {MediaStreamTrack} */
  get video() {
    return this.#tracks.camera ?? this.#picture.track;
  }

  /** @type {MediaStreamTrack | null} null without a microphone */
  get audio() {
    return this.#tracks.microphone;
  }

  /** Whether others hear this page. */
  get audible() {
    return this.audio !== null && !this.muted;
  }

  /** Whether the browser can share a screen: those of phones cannot. */
  get canShare() {
    return Boolean(navigator.mediaDevices?.getDisplayMedia);
  }

  set name(name) {
    this.#picture.name = name;
  }

  /**
   * Turns a device on, and asks for it if necessary.
   * @param {"camera" | "microphone" | "screen"} device
   * @throws {DOMException | Error} if there is none or the person refuses
   */
  async start(device) {
    if (device === "microphone") this.muted = false;
    if (this.#tracks[device]) return this.#changed();
    const request = ++this.#requests[device];
    const track = await ask(device);
    if (request !== this.#requests[device]) return track.stop(); // it is not wanted any more
    this.#tracks[device] = track;
    track.onended = () => this.#tracks[device] === track && this.stop(device); // unplugged, or no longer allowed
    this.#changed();
  }

  stop(device) {
    this.#requests[device]++;
    this.#tracks[device]?.stop();
    this.#tracks[device] = null;
    this.#changed();
  }

  /** The microphone stays open, so that speaking again takes no time. */
  mute(muted) {
    this.muted = muted;
    this.#changed();
  }

  /** Stops all devices. */
  release() {
    for (const device of Object.keys(this.#tracks)) this.stop(device);
  }

  #changed() {
    if (this.source === "generated") this.#picture.start();
    else this.#picture.stop();
    if (this.audio) this.audio.enabled = !this.muted;
    for (const track of this.preview.getTracks()) if (track !== this.video) this.preview.removeTrack(track);
    this.preview.addTrack(this.video);
    const {screen} = this.#tracks;
    if (!screen) this.shared = null;
    else if (this.shared?.getVideoTracks()[0] !== screen) this.shared = new MediaStream([screen]);
    this.dispatchEvent(new Event("changed"));
  }
}

/** Asks the browser, and with it the person, for a track. */
async function ask(device) {
  const {mediaDevices} = navigator;
  if (!mediaDevices?.getUserMedia) throw new SecureContextError();
  if (device === "screen") return (await mediaDevices.getDisplayMedia(SCREEN)).getVideoTracks()[0];
  const stream = await mediaDevices.getUserMedia(device === "camera" ? {video: CAMERA} : {audio: MICROPHONE});
  return stream.getTracks()[0];
}
