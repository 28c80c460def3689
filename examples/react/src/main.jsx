import {StrictMode, useEffect, useRef, useState} from "react";
import {createRoot} from "react-dom/client";
import {useCall} from "./useCall.js";

const options = new URLSearchParams(location.search);
const server = options.get("server") ?? "http://localhost:8000";

function Video({stream, label}) {
  const video = useRef(null);
  useEffect(() => void (video.current.srcObject = stream), [stream]);
  return <video ref={video} aria-label={label} width="320" autoPlay playsInline muted />;
}

function Page() {
  const [room, setRoom] = useState(options.get("room") ?? "react");
  const [tracks, setTracks] = useState({});
  const {peers, error} = useCall(server, room, options.get("name") ?? "Somebody", tracks);
  const share = async () => setTracks({video: (await navigator.mediaDevices.getUserMedia({video: true})).getVideoTracks()[0]});
  useEffect(() => () => tracks.video?.stop(), [tracks]);
  return (
    <>
      <label>Room <input defaultValue={room} onBlur={({target}) => setRoom(target.value)} /></label>
      <button onClick={share}>Show my camera</button>
      {error && <p role="alert">{error.message}</p>}
      <ul>{peers.map(({id, name, state}) => <li key={id}>{name}: {state}</li>)}</ul>
      {peers.map(({id, name, stream}) => <Video key={id} stream={stream} label={name} />)}
    </>
  );
}

createRoot(document.querySelector("#root")).render(<StrictMode><Page /></StrictMode>);
