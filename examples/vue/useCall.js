import {onScopeDispose, ref, shallowRef, toValue, watch} from "vue";

/**
 * Takes part in the call of a room for as long as the component is there. `room` and `tracks`, {audio, video}, may be refs.
 * Returns refs: the others, as {id, name, state, stream}, and the error that keeps this page out, or null.
 */
export function useCall({Signaling, Call}, url, room, name, tracks) {
  const peers = shallowRef([]);
  const error = ref(null);
  let call = null;

  function leave() {
    const left = call;
    call = null;
    peers.value = [];
    left?.leave().catch(() => {}).finally(() => left.signaling.close()); // the others are told at once
  }

  async function join() {
    leave();
    const joining = (call = new Call(new Signaling(url)));
    Object.assign(call.tracks, toValue(tracks));
    const update = () => {
      if (joining !== call) return;
      peers.value = [...call.peers.values()].map(({id, metadata, state, stream}) => ({id, name: metadata.name, state, stream}));
    };
    for (const type of ["peer-added", "peer-changed", "peer-removed"]) call.addEventListener(type, update);
    try {
      await call.join(toValue(room), crypto.randomUUID(), {name});
      error.value = null;
    } catch (reason) {
      if (joining === call) error.value = reason;
    }
  }

  watch(() => toValue(room), join, {immediate: true});
  watch(() => toValue(tracks), (now) => Object.entries(now).forEach(([kind, track]) => call?.replaceTrack(kind, track)));
  onScopeDispose(leave);
  return {peers, error};
}
