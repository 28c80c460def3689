/** The screen before and after a call: name, room, and a preview that nobody else sees. */

import {$, setText, toast} from "./element.js";
import {asRoom} from "./visit.js";

/** Events: "join", with the name and the room in the Visit; "cancel". */
export class JoinScreen extends EventTarget {
  #visit;
  #media;

  /**
   * @param {import("./visit.js").Visit} visit
   * @param {import("./media.js").LocalMedia} media
   */
  constructor(visit, media) {
    super();
    this.#visit = visit;
    this.#media = media;
    media.addEventListener("changed", () => this.#showPreview());
    $("join-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    $("join-button").addEventListener("click", (event) => event.detail > 1 && event.preventDefault()); // as of "Leave"
    $("joining-cancel").addEventListener("click", () => this.dispatchEvent(new Event("cancel")));
    this.#showPreview();
    this.fill();
    $("join-button").disabled = false; // the page can do what it says now
  }

  /** Shows the name and the room as they are now. */
  fill() {
    $("name").value = this.#visit.name;
    $("room-input").value = this.#visit.room;
  }

  /** Shows why the call has ended, or could not begin; or nothing. */
  explain(text, needsToken) {
    setText($("join-problem"), text);
    $("join-problem").hidden = !text;
    $("token-field").hidden = !needsToken;
    $("token-input").required = needsToken;
  }

  /** Moves the focus to where the person goes on. */
  focus() {
    const field = $("token-field").hidden ? $("join-button") : $("token-input");
    field.focus();
  }

  /** @param {boolean} joining whether the page waits for the server */
  set joining(joining) {
    $("joining").hidden = !joining;
    $("join-button").hidden = joining;
    for (const id of ["name", "room-input", "token-input"]) $(id).disabled = joining;
  }

  #submit() {
    const room = asRoom($("room-input").value);
    if (!room) return;
    this.#visit.rename($("name").value);
    this.#visit.room = room;
    if (!$("token-field").hidden) return this.#useToken();
    this.explain("", false);
    this.dispatchEvent(new Event("join"));
  }

  /** The token may change the id, the name and what is allowed: the page starts anew with it. */
  #useToken() {
    if (this.#visit.keepToken($("token-input").value.trim())) {
      this.#visit.remember({camera: this.#media.source === "camera", microphone: this.#media.audible});
      location.reload();
    } else {
      toast("This browser stores nothing for this page, so the page cannot keep a token. Add it to the address.");
    }
  }

  #showPreview() {
    const filming = this.#media.source === "camera";
    const video = $("preview-video");
    $("preview-hint").hidden = filming;
    video.hidden = !filming;
    video.srcObject = filming ? this.#media.preview : null;
  }
}
