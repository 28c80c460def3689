/** The demo page: a call and a chat between all who join the same room. */

import {ChatPanel} from "./chat-panel.js";
import {Controls} from "./controls.js";
import {$, setText, toast} from "./element.js";
import {JoinScreen} from "./join-screen.js";
import {LocalMedia} from "./media.js";
import {Meeting} from "./meeting.js";
import {Moderation} from "./moderation.js";
import {Panels} from "./panels.js";
import {Roster} from "./roster.js";
import {useShortcuts} from "./shortcuts.js";
import {Stage} from "./stage.js";
import {Status} from "./status.js";
import {Visit} from "./visit.js";

const visit = new Visit();
const media = new LocalMedia(visit.id, visit.name);
const meeting = new Meeting(visit, media);
const joinScreen = new JoinScreen(visit, media);
const controls = new Controls(media);
const stage = new Stage();
const roster = new Roster(visit.moderates);
const moderation = new Moderation(meeting);
const panels = new Panels();
const chat = new ChatPanel(meeting.chat, visit);
new Status(meeting);
useShortcuts(visit.moderates);
globalThis.mcpActors = {media, parts: () => meeting.parts}; // to look at in the console of the browser

/** This person, as the others are shown. */
const self = () => ({
  id: visit.id,
  name: visit.name,
  self: true,
  state: "connected",
  flowing: true,
  audible: media.audible,
  mirrored: media.source === "camera",
  stream: media.preview,
  screen: media.shared,
});

function show(person) {
  stage.show(person);
  roster.show(person);
  chat.name(person.id, person.name);
  showInvitation();
}

function remove(id) {
  stage.remove(id);
  roster.remove(id);
  showInvitation();
}

const showInvitation = () => ($("invitation").hidden = meeting.state !== "in" || stage.size > 1);

function showView() {
  const inCall = meeting.state === "in";
  if ($("call").hidden !== inCall) return;
  document.body.dataset.view = inCall ? "call" : "join";
  $("join").hidden = inCall;
  $("call").hidden = !inCall;
  if (inCall) $("microphone").focus({preventScroll: true});
}

function showRoom() {
  setText($("room-name"), visit.room);
  document.title = `${visit.room} · mcp_actors call`;
  joinScreen.fill();
}

function join() {
  joinScreen.joining = true;
  media.name = $("new-name").value = visit.name;
  showRoom();
  meeting.join();
}

function rememberDevices() {
  if (meeting.state === "in") visit.remember({camera: media.source === "camera", microphone: media.audible});
}

async function copyLink() {
  try {
    await navigator.clipboard.writeText(visit.link);
    toast("The link is copied.");
  } catch {
    toast(visit.link); // outside of secure contexts there is no clipboard
  }
}

meeting.addEventListener("changed", () => {
  joinScreen.joining = meeting.state === "joining";
  if (meeting.state === "in") {
    media.name = $("new-name").value = visit.name;
    show(self());
  }
  showView();
  rememberDevices();
  chat.refresh();
});
meeting.addEventListener("person", ({detail}) => show(detail));
meeting.addEventListener("person-left", ({detail: {id}}) => remove(id));
meeting.addEventListener("joined", () => {
  chat.showNotice(`You are in room ${visit.room}.`);
  chat.showAgents();
});
meeting.addEventListener("ended", ({detail: {text, needsToken}}) => {
  media.release();
  visit.remember(null);
  remove(visit.id);
  chat.refresh();
  joinScreen.joining = false;
  joinScreen.explain(text, needsToken);
  showView();
  joinScreen.focus();
});
media.addEventListener("changed", () => {
  if (meeting.state === "in") show(self());
  rememberDevices();
});
joinScreen.addEventListener("join", join);
joinScreen.addEventListener("cancel", () => meeting.leave());
roster.addEventListener("remove", ({detail: {id, name}}) => moderation.remove(id, name));
chat.addEventListener("message", () => panels.noteMessage());

$("moderation").hidden = !visit.moderates;
$("leave").addEventListener("click", () => meeting.leave());
for (const id of ["copy", "invite"]) $(id).addEventListener("click", copyLink);
$("new-name").addEventListener("change", () => {
  visit.rename($("new-name").value);
  $("new-name").value = media.name = visit.name;
  meeting.tell();
  show(self());
});
addEventListener("popstate", () => {
  meeting.leave();
  showRoom();
});
addEventListener("pagehide", () => meeting.abandon()); // tells the others at once
addEventListener("pageshow", (event) => event.persisted && location.reload());

showRoom();
const {interrupted} = visit;
if (interrupted) {
  // A video without a picture delays the page's "load" event, for ever if its peer cannot be reached: join after it.
  const resume = () => {
    for (const device of ["camera", "microphone"]) if (interrupted[device]) controls.start(device, true);
    join();
  };
  if (document.readyState === "complete") resume();
  else addEventListener("load", resume, {once: true});
}
