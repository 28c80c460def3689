/** Dialogs that ask before something is done. */

import {byId, element} from "./element.js";

/**
 * @typedef {{title: string, text: string, fields?: HTMLElement[], action: string, danger?: boolean,
 *   perform: (form: FormData) => Promise<void>}} Question
 *   `perform` does it, or throws an error whose message is shown
 */

/**
 * Opens a dialog. It closes when the action is done, and stays open with the reason if it fails. The browser keeps the
 * focus in it, and returns it to where it was.
 * @param {Question} question
 */
export function ask({title, text, fields = [], action, danger = false, perform}) {
  const problem = element("p", {class: "problem", role: "alert", hidden: true});
  const cancel = element("button", {type: "button", click: () => dialog.close(), autofocus: fields.length === 0}, "Cancel");
  const submit = element("button", {type: "submit", class: danger ? "danger" : "primary"}, action);
  const form = element(
    "form",
    {method: "dialog", submit: performed},
    element("h2", {id: "dialog-title"}, title),
    element("p", {id: "dialog-text"}, text),
    ...fields,
    problem,
    element("div", {class: "buttons"}, cancel, submit),
  );
  const opener = /** @type {HTMLElement | null} */ (document.activeElement);
  const attributes = {"aria-labelledby": "dialog-title", "aria-describedby": "dialog-text", close: closed};
  const dialog = element("dialog", attributes, form);
  document.body.append(dialog);
  dialog.showModal();

  /** @param {SubmitEvent} event */
  async function performed(event) {
    event.preventDefault();
    if (submit.disabled) return;
    submit.disabled = true;
    problem.hidden = true;
    try {
      await perform(new FormData(form));
      dialog.close();
    } catch (error) {
      problem.textContent = error instanceof Error ? error.message : String(error);
      problem.hidden = false;
      submit.disabled = false;
    }
  }

  function closed() {
    dialog.remove();
    if (!opener?.isConnected || opener === document.body) byId("main").focus();
  }
}

let numbered = 0;

/** A field with its label. @param {string} label @param {HTMLElement} control @param {string} hint */
export function field(label, control, hint = "") {
  const id = `field-${++numbered}`;
  control.id = id;
  if (hint) control.setAttribute("aria-describedby", `${id}-hint`);
  return element(
    "div",
    {class: "field"},
    element("label", {for: id}, label),
    control,
    hint && element("p", {class: "hint", id: `${id}-hint`}, hint),
  );
}
