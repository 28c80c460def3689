import {WebrtcProvider} from "y-webrtc";
import * as Y from "yjs";

const options = new URLSearchParams(location.search);
const server = options.get("server") ?? "http://localhost:8000";
const doc = new Y.Doc();
const text = doc.getText("notes");
const provider = new WebrtcProvider(options.get("room") ?? "notes", doc, {
  signaling: [`${server.replace("http", "ws")}/ws/y-webrtc/`],
  peerOpts: {config: {iceServers: []}}, // enough on one network; name STUN and TURN servers for others
});
const area = document.querySelector("textarea");

/** The part of `after` that is not in `before`: how many characters are the same at the start, then removed, then new. */
function change(before, after) {
  const most = Math.min(before.length, after.length);
  let start = 0;
  while (start < most && before[start] === after[start]) start++;
  let end = 0;
  while (end < most - start && before.at(-1 - end) === after.at(-1 - end)) end++;
  return {start, removed: before.length - start - end, inserted: after.slice(start, after.length - end)};
}

area.addEventListener("input", () => {
  const {start, removed, inserted} = change(text.toString(), area.value);
  doc.transact(() => {
    text.delete(start, removed);
    text.insert(start, inserted);
  }, area);
});

text.observe(({delta}, {origin}) => {
  if (origin === area) return;
  let [at, {selectionStart, selectionEnd}] = [0, area];
  for (const {retain = 0, insert = "", delete: removed = 0} of delta) {
    at += retain;
    const moved = (position) => (position <= at ? position : Math.max(at, position - removed) + insert.length);
    [selectionStart, selectionEnd] = [moved(selectionStart), moved(selectionEnd)];
    at += insert.length;
  }
  area.value = text.toString();
  area.setSelectionRange(selectionStart, selectionEnd);
});

provider.on("peers", ({webrtcPeers}) => (document.querySelector("#others").value = webrtcPeers.length));
