import {connect} from "./connect.js";

const options = new URLSearchParams(location.search);
const server = options.get("server") ?? "http://localhost:8000";
const {Connection} = await import(`${server}/client/index.js`);

const say = (text) => document.querySelector("ul").append(Object.assign(document.createElement("li"), {textContent: text}));
const show = (srcObject) =>
  document.body.append(Object.assign(document.createElement("video"), {srcObject, autoplay: true, muted: true}));

const peers = await connect(new Connection(server), options.get("room") ?? "room", {trickle: options.get("trickle") !== "off"}, (peer) => {
  peer.on("connect", () => say("connected"));
  peer.on("data", (data) => say(`they: ${data}`));
  peer.on("stream", show);
  peer.on("error", ({message}) => say(message));
});
say("joined");

document.querySelector("form").addEventListener("submit", (event) => {
  event.preventDefault();
  const {text} = event.target.elements;
  for (const peer of peers.values()) if (peer.connected) peer.send(text.value);
  event.target.reset();
});
document.querySelector("#camera").addEventListener("click", async () => {
  const stream = await navigator.mediaDevices.getUserMedia({video: true});
  for (const peer of peers.values()) peer.addStream(stream);
});
