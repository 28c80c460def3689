const options = new URLSearchParams(location.search);
const server = options.get("server") ?? "http://localhost:8000";
const {Connection} = await import(`${server}/client/index.js`);
const {Call} = await import(`${server}/client/call.js`);

const name = options.get("name") ?? ["Ada", "Bob", "Cleo", "Dan", "Eve"][Math.floor(Math.random() * 5)];
document.querySelector("#name").value = name;

const cursors = new Map(); // elements, by pair

/** A position is worth nothing once there is a newer one, so a lost one is not sent again. */
const UNRELIABLE = {ordered: false, maxRetransmits: 0};

function show(pair, [x, y]) {
  if (!cursors.has(pair)) {
    const {metadata, order} = pair.member;
    const cursor = Object.assign(document.createElement("div"), {className: "cursor", textContent: metadata.name});
    cursor.style.color = `hsl(${order * 137} 70% 40%)`;
    document.body.append(cursor);
    cursors.set(pair, cursor);
  }
  Object.assign(cursors.get(pair).style, {left: `${x * 100}%`, top: `${y * 100}%`});
}

function remove(pair) {
  cursors.get(pair)?.remove();
  cursors.delete(pair);
}

const connection = new Connection(server);
const call = new Call(await connection.join(options.get("room") ?? "cursors", {metadata: {name}}), {channels: {pointer: UNRELIABLE}});
call.addEventListener("message", ({detail: {pair, data}}) => pair.member && show(pair, JSON.parse(data)));
call.addEventListener("pair-removed", ({detail: pair}) => remove(pair));
document.addEventListener("pointermove", ({clientX, clientY}) => {
  call.send("pointer", JSON.stringify([clientX / innerWidth, clientY / innerHeight]));
});
addEventListener("pagehide", () => connection.close()); // the others are told at once
