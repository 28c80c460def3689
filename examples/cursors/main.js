const options = new URLSearchParams(location.search);
const server = options.get("server") ?? "http://localhost:8000";
const {Signaling} = await import(`${server}/signaling.js`);
const {Call} = await import(`${server}/call.js`);

const name = options.get("name") ?? ["Ada", "Bob", "Cleo", "Dan", "Eve"][Math.floor(Math.random() * 5)];
document.querySelector("#name").value = name;

const call = new Call(new Signaling(`${server.replace("http", "ws")}/ws/signaling/`));
call.tracks = {}; // neither audio nor video
const connections = new WeakSet();
const channels = new Map(); // the open ones, by peer
const cursors = new Map(); // elements, by peer

/** A position is worth nothing once there is a newer one, so a lost one is not sent again. */
const UNRELIABLE = {ordered: false, maxRetransmits: 0};

/** A peer that starts over has a new connection, which needs a new channel. */
function watch({detail: peer}) {
  if (connections.has(peer.pc)) return;
  connections.add(peer.pc);
  peer.pc.addEventListener("datachannel", ({channel}) => use(peer, channel));
  if (peer.polite) use(peer, peer.pc.createDataChannel("pointer", UNRELIABLE));
}

function use(peer, channel) {
  channel.addEventListener("open", () => channels.set(peer, channel));
  channel.addEventListener("message", ({data}) => show(peer, JSON.parse(data)));
}

function show(peer, [x, y]) {
  if (!cursors.has(peer)) {
    const cursor = Object.assign(document.createElement("div"), {className: "cursor", textContent: peer.metadata.name});
    cursor.style.color = `hsl(${peer.order * 137} 70% 40%)`;
    document.body.append(cursor);
    cursors.set(peer, cursor);
  }
  Object.assign(cursors.get(peer).style, {left: `${x * 100}%`, top: `${y * 100}%`});
}

function remove({detail: peer}) {
  cursors.get(peer)?.remove();
  cursors.delete(peer);
  channels.delete(peer);
}

call.addEventListener("peer-added", watch);
call.addEventListener("peer-changed", watch);
call.addEventListener("peer-removed", remove);
document.addEventListener("pointermove", ({clientX, clientY}) => {
  const position = JSON.stringify([clientX / innerWidth, clientY / innerHeight]);
  for (const channel of channels.values()) if (channel.readyState === "open") channel.send(position);
});
await call.join(options.get("room") ?? "cursors", crypto.randomUUID(), {name});
addEventListener("pagehide", () => call.leave()); // the others are told at once
