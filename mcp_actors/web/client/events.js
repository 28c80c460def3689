/** Events whose `detail` TypeScript knows. */

/**
 * @template Detail
 * @typedef {((event: CustomEvent<Detail>) => unknown) | {handleEvent(event: CustomEvent<Detail>): unknown}} Listener
 */

/**
 * An EventTarget whose events are CustomEvents. `Events` has the type of `detail` by the type of the event.
 * @template {object} Events
 */
export class TypedEventTarget extends EventTarget {
  /**
   * @template {keyof Events & string} Type
   * @param {Type} type
   * @param {Listener<Events[Type]> | null} listener
   * @param {boolean | AddEventListenerOptions} [options]
   * @returns {void}
   * @override
   */
  addEventListener(type, listener, options) {
    super.addEventListener(type, /** @type {EventListenerOrEventListenerObject} */ (listener), options);
  }

  /**
   * @template {keyof Events & string} Type
   * @param {Type} type
   * @param {Listener<Events[Type]> | null} listener
   * @param {boolean | EventListenerOptions} [options]
   * @returns {void}
   * @override
   */
  removeEventListener(type, listener, options) {
    super.removeEventListener(type, /** @type {EventListenerOrEventListenerObject} */ (listener), options);
  }
}

/**
 * @param {EventTarget} target
 * @param {string} type
 * @param {unknown} [detail]
 */
export const emit = (target, type, detail) => {
  target.dispatchEvent(new CustomEvent(type, {detail}));
};
