/** What moderators can do: lock and close the room, and remove people. The server decides who is one. */

import {$, setText, toast} from "./element.js";
import {describeError} from "./wording.js";

export class Moderation {
  #meeting;

  /** @param {import("./meeting.js").Meeting} meeting */
  constructor(meeting) {
    this.#meeting = meeting;
    $("lock").addEventListener("click", () => this.#toggleLock());
    $("close-room").addEventListener("click", () => this.#closeRoom());
    meeting.addEventListener("changed", () => this.#show());
  }

  /** Asks, then removes a person. */
  async remove(id, name) {
    const answer = await ask(`Remove ${name}?`, "Remove", true);
    if (answer) await attempt(() => this.#meeting.remove(id, answer), `${name} was removed.`);
  }

  #show() {
    const {locked} = this.#meeting;
    $("locked").hidden = !locked;
    $("lock").setAttribute("aria-pressed", String(locked));
  }

  async #toggleLock() {
    const locked = !this.#meeting.locked;
    const text = locked ? "The room is locked: nobody else can join." : "The room is open again.";
    await attempt(() => this.#meeting.setLocked(locked), text);
  }

  async #closeRoom() {
    const answer = await ask("Close the room for everybody?", "Close room", false);
    if (answer) await attempt(() => this.#meeting.closeRoom(answer.message), "");
  }
}

/** Asks before something that cannot be undone; null if the answer is no. */
function ask(title, action, mayBan) {
  const dialog = $("removal");
  setText($("removal-title"), title);
  setText($("removal-ok"), action);
  $("removal-ban").hidden = !mayBan;
  $("removal-seconds").value = $("removal-message").value = "";
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "ok" ? answers() : null), {once: true});
  });
}

const answers = () => ({
  banSeconds: Number($("removal-seconds").value) || undefined,
  message: $("removal-message").value.trim() || undefined,
});

async function attempt(action, done) {
  try {
    await action();
    if (done) toast(done);
  } catch (error) {
    toast(error.code === "forbidden" ? "Your access token does not allow moderating this room." : describeError(error));
  }
}
