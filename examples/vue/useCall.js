import {onScopeDispose, ref, shallowRef, toValue, watch} from "vue";

/**
 * Takes part in the call of a room for as long as the component is there. `room` and `tracks`, {audio, video}, may be refs.
 * Returns refs: the others, as {id, name, state, stream}, and the error that keeps this page out, or null.
 */
export function useCall({Connection, Call}, server, room, name, tracks) {
  const peers = shallowRef([]);
  const error = ref(null);
  let connection = null;
  let call = null;

  function leave() {
    connection?.close(); // leaves the room, and the call with it; the others are told at once
    connection = call = null;
    peers.value = [];
  }

  async function join() {
    leave();
    const joining = (connection = new Connection(server));
    try {
      const joined = await joining.join(toValue(room), {metadata: {name}});
      if (joining !== connection) return;
      const made = (call = new Call(joined, toValue(tracks)));
      const update = () => {
        if (made !== call) return;
        peers.value = [...call.pairs.values()].map(({peerId, member, state, stream}) => ({id: peerId, name: member?.metadata.name, state, stream}));
      };
      for (const type of ["pair-added", "pair-changed", "pair-removed"]) call.addEventListener(type, update);
      error.value = null;
    } catch (reason) {
      if (joining === connection) error.value = reason;
    }
  }

  watch(() => toValue(room), join, {immediate: true});
  watch(() => toValue(tracks), (now) => Object.entries(now).forEach(([kind, track]) => call?.replaceTrack(kind, track)));
  onScopeDispose(leave);
  return {peers, error};
}
