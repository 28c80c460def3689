/** Tells when the device may have slept or changed its network: a connection that looks open may be dead. */

/**
 * @param {() => void} woken
 * @param {AbortSignal} signal ends it
 */
export function onWake(woken, signal) {
  // The network is known to Chromium alone, and not to TypeScript.
  const {navigator, document} = /** @type {{navigator?: {connection?: EventTarget}, document?: Document}} */ (globalThis);
  /** @type {[EventTarget | undefined, string][]} */
  const heard = [[globalThis, "online"], [globalThis, "pageshow"], [navigator?.connection, "change"], [document, "visibilitychange"]];
  for (const [target, type] of heard) {
    target?.addEventListener?.(type, () => (target === document && document?.hidden) || woken(), {signal});
  }
}
