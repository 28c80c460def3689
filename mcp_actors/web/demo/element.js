/** Small helpers for elements. */

export const $ = (id) => document.getElementById(id);

/** Clones the content of a <template>. */
export const fromTemplate = (id) => $(id).content.firstElementChild.cloneNode(true);

/** Sets a text only if it differs: screen readers announce each change. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Shows an icon of the page in a button. */
export const setIcon = (button, icon) => button.querySelector("use").setAttribute("href", `#icon-${icon}`);

let timer = 0;

/** Shows a short text for a moment. */
export function toast(text) {
  setText($("toast"), text);
  $("toast").hidden = false;
  clearTimeout(timer);
  timer = setTimeout(() => ($("toast").hidden = true), 5000);
}
