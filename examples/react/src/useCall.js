import {useEffect, useRef, useState} from "react";
import {Call} from "./client/call.js";
import {Signaling} from "./client/signaling.js";

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
    const signaling = new Signaling(`${server.replace("http", "ws")}/ws/signaling/`);
    const call = (latest.current.call = new Call(signaling));
    Object.assign(call.tracks, latest.current.tracks);
    let gone = false;
    const update = () =>
      gone || setPeers([...call.peers.values()].map(({id, metadata, state, stream}) => ({id, name: metadata.name, state, stream})));
    for (const type of ["peer-added", "peer-changed", "peer-removed"]) call.addEventListener(type, update);
    call.join(room, crypto.randomUUID(), {name}).then(() => setError(null), (reason) => gone || setError(reason));
    return () => {
      gone = true;
      setPeers([]);
      call.leave().catch(() => {}).finally(() => signaling.close()); // the others are told at once
    };
  }, [server, room, name]);

  useEffect(() => {
    for (const [kind, track] of Object.entries(tracks)) latest.current.call.replaceTrack(kind, track);
  }, [tracks]);

  return {peers, error};
}
