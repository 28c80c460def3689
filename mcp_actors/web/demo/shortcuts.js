/** Single keys for the controls of the call. People who dictate or tremble can turn them off. */

import {$} from "./element.js";

const KEYS = {
  m: ["microphone", "Microphone on or off"],
  v: ["camera", "Camera on or off"],
  s: ["screen", "Share the screen, or stop"],
  p: ["show-people", "Show people"],
  c: ["show-chat", "Show the chat"],
  l: ["lock", "Lock or unlock the room"],
  "?": ["show-shortcuts", "This list"],
};

const isTyping = ({target}) => target.closest?.("input, textarea, select, dialog") !== null;

/** @param {boolean} moderates whether to list the keys of moderators */
export function useShortcuts(moderates) {
  for (const [key, [id, text]] of Object.entries(KEYS)) {
    if (id === "lock" && !moderates) continue;
    const [term, description] = [document.createElement("dt"), document.createElement("dd")];
    term.append(Object.assign(document.createElement("kbd"), {textContent: key.toUpperCase()}));
    description.textContent = text;
    $("shortcut-list").append(term, description);
    if (key !== "?") $(id).setAttribute("aria-keyshortcuts", key);
  }
  $("show-shortcuts").addEventListener("click", () => $("shortcuts").showModal());
  addEventListener("keydown", (event) => {
    const {key, repeat, ctrlKey, metaKey, altKey} = event;
    if (repeat && event.target.closest?.("button")) event.preventDefault(); // a key held down presses once
    const off = !$("use-shortcuts").checked || $("call").hidden;
    if (off || repeat || ctrlKey || metaKey || altKey || isTyping(event)) return;
    const [id] = KEYS[key.toLowerCase()] ?? [];
    const button = id && $(id);
    if (!button || button.disabled || button.hidden || (id === "lock" && !moderates)) return;
    event.preventDefault();
    button.click();
  });
}
