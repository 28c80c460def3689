const options = new URLSearchParams(location.search);
const server = options.get("server") ?? "http://localhost:8000";
const {Connection} = await import(`${server}/client/index.js`);
const {Call} = await import(`${server}/client/call.js`);

const CHUNK = 65_536; // bytes of one message; every browser accepts as many
const MAX_BUFFERED = 1_048_576; // bytes that wait for the network; further ones stay in the file

const call = new Call(await new Connection(server).join(options.get("room") ?? "files"));
const connections = new WeakSet();
const connected = () => [...call.pairs.values()].filter(({state}) => state === "connected");

/** Each file has a channel of its own. A pair that starts over has a new connection. */
function watch({detail: {pc}}) {
  document.querySelector("#connected").value = connected().length;
  if (connections.has(pc)) return;
  connections.add(pc);
  pc.addEventListener("datachannel", ({channel}) => channel.label === "file" && receive(channel));
}

async function send(pc, file) {
  const {name, size, type} = file;
  const channel = pc.createDataChannel("file", {protocol: JSON.stringify({name, size, type})});
  channel.bufferedAmountLowThreshold = MAX_BUFFERED / 2;
  await happens(channel, "open");
  for (let start = 0; start < size; start += CHUNK) {
    if (channel.bufferedAmount > MAX_BUFFERED) await happens(channel, "bufferedamountlow");
    channel.send(await file.slice(start, start + CHUNK).arrayBuffer());
  }
  channel.close(); // after all has been sent
}

function receive(channel) {
  const {name, size, type} = JSON.parse(channel.protocol);
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

for (const type of ["pair-added", "pair-changed", "pair-removed"]) call.addEventListener(type, watch);
document.querySelector("input").addEventListener("change", ({target: {files}}) => {
  for (const {pc} of connected()) for (const file of files) send(pc, file).catch((error) => say(`${file.name}: ${error.message}`));
});
