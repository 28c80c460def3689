import {Connection} from "mcp-actors";
import {Call} from "mcp-actors/call";
import {useEffect, useRef, useState} from "react";

/**
 * Takes part in the call of a room for as long as the component is there. `tracks`, {audio, video}, may change.
 * Returns the others, as {id, name, state, stream}, and the error that keeps this page out, or null.
 */
export function useCall(server, room, name, tracks) {
  const [peers, setPeers] = useState([]);
  const [error, setError] = useState(null);
  const latest = useRef({});
  latest.current.tracks = tracks;

  useEffect(() => {
    const connection = new Connection(server);
    let gone = false;

    async function join() {
      const joined = await connection.join(room, {metadata: {name}});
      if (gone) return;
      const call = (latest.current.call = new Call(joined, latest.current.tracks));
      const update = () =>
        gone || setPeers([...call.pairs.values()].map(({peerId, member, state, stream}) => ({id: peerId, name: member?.metadata.name, state, stream})));
      for (const type of ["pair-added", "pair-changed", "pair-removed"]) call.addEventListener(type, update);
      setError(null);
    }

    join().catch((reason) => gone || setError(reason));
    return () => {
      gone = true;
      latest.current.call = null;
      setPeers([]);
      connection.close(); // leaves the room, and the call with it; the others are told at once
    };
  }, [server, room, name]);

  useEffect(() => {
    for (const [kind, track] of Object.entries(tracks)) latest.current.call?.replaceTrack(kind, track);
  }, [tracks]);

  return {peers, error};
}
