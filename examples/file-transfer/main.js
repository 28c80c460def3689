const options = new URLSearchParams(location.search);
const server = options.get("server") ?? "http://localhost:8000";
const {Signaling} = await import(`${server}/signaling.js`);
const {Call} = await import(`${server}/call.js`);

const CHUNK = 65_536; // bytes of one message; every browser accepts as many
const MAX_BUFFERED = 1_048_576; // bytes that wait for the network; further ones stay in the file

const call = new Call(new Signaling(`${server.replace("http", "ws")}/ws/signaling/`));
call.tracks = {}; // neither audio nor video
const connections = new WeakSet();
const connected = () => [...call.peers.values()].filter(({state}) => state === "connected");

/** The first channel makes the connection, and each file has one of its own. A peer that starts over has a new connection. */
function watch({detail: {pc, polite}}) {
  document.querySelector("#connected").value = connected().length;
  if (connections.has(pc)) return;
  connections.add(pc);
  pc.addEventListener("datachannel", ({channel}) => channel.protocol === "file" && receive(channel));
  if (polite) pc.createDataChannel("connect");
}

async function send(pc, file) {
  const {name, size, type} = file;
  const channel = pc.createDataChannel(JSON.stringify({name, size, type}), {protocol: "file"});
  channel.bufferedAmountLowThreshold = MAX_BUFFERED / 2;
  await happens(channel, "open");
  for (let start = 0; start < size; start += CHUNK) {
    if (channel.bufferedAmount > MAX_BUFFERED) await happens(channel, "bufferedamountlow");
    channel.send(await file.slice(start, start + CHUNK).arrayBuffer());
  }
  channel.close(); // after all has been sent
}

function receive(channel) {
  const {name, size, type} = JSON.parse(channel.label);
  const chunks = [];
  let received = 0;
  const line = say("");
  const progress = () => {
    line.textContent = `${name}: ${received} of ${size} bytes`;
    if (received < size) return;
    const link = Object.assign(document.createElement("a"), {download: name, textContent: name});
    link.href = URL.createObjectURL(new Blob(chunks, {type}));
    line.replaceChildren(link);
  };
  channel.binaryType = "arraybuffer";
  channel.addEventListener("message", ({data}) => {
    chunks.push(data);
    received += data.byteLength;
    progress();
  });
  progress();
}

function say(textContent) {
  const line = Object.assign(document.createElement("li"), {textContent});
  document.querySelector("ul").append(line);
  return line;
}

const happens = (target, type) =>
  new Promise((resolve, reject) => {
    target.addEventListener(type, resolve, {once: true});
    target.addEventListener("close", () => reject(new Error("The connection is lost.")), {once: true});
  });

for (const type of ["peer-added", "peer-changed", "peer-removed"]) call.addEventListener(type, watch);
document.querySelector("input").addEventListener("change", ({target: {files}}) => {
  for (const {pc} of connected()) for (const file of files) send(pc, file).catch((error) => say(`${file.name}: ${error.message}`));
});
await call.join(options.get("room") ?? "files", crypto.randomUUID());
