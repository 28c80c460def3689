"""Many people in a room of the demo page: each with a drawn picture if wanted, all from one page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.web.pages import PLAIN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from playwright.sync_api import BrowserContext

NAMES = (
    *("Ada Lovelace", "Bo", "Grace Hopper", "Zoë Łukasiewicz", "Mei-Ling Chen", "Ali Rezaei", "Noor", "Kwame Nkrumah"),
    *(
        "Ines García Márquez",
        "Jürgen Groß",
        "Olu",
        "Priya Raghunathan",
        "Tom",
        "Åsa Lindström",
        "山田 太郎",
        "Ким Ольга",
    ),
    *("Fatima az-Zahra", "Lee", "Marguerite Yourcenar", "Sam", "Thandiwe Mokoena", "Bjørn", "Ximena", "Dr. Chandra"),
    *("Luca", "Hedy Lamarr", "Niels", "Rosa P.", "Yusuf İslamoğlu", "Vera"),
)
LONG_NAMES = (
    "Wolfeschlegelsteinhausenbergerdorff Hub.",
    "Ana María de los Ángeles Fernández Ruiz",
    "mmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmm",
    "Krishnamoorthy Venkatasubramanian Iyer",
    "a name of 22 character",
    "O",
)
# Peers that answer offers with the picture of a person, whose head moves a little each second.
JOIN = """
async ({room, people, filmed}) => {
  if (filmed) {
    const allowed = await navigator.mediaDevices.getUserMedia({video: true}); // so that addresses are not hidden
    allowed.getTracks().forEach((track) => track.stop());
  }
  const draw = (context, number, turn) => {
    const hue = (number * 67) % 360;
    const wall = context.createLinearGradient(0, 0, 320, 180);
    wall.addColorStop(0, `oklch(0.72 0.05 ${hue})`);
    wall.addColorStop(1, `oklch(0.45 0.07 ${hue + 40})`);
    context.fillStyle = wall;
    context.fillRect(0, 0, 320, 180);
    const x = 160 + 6 * Math.sin(turn + number);
    context.fillStyle = `oklch(0.34 0.08 ${hue + 150})`;
    context.beginPath();
    context.ellipse(x, 190, 74, 62, 0, 0, 7);
    context.fill();
    context.fillStyle = `oklch(${0.5 + (number % 5) * 0.08} 0.06 55)`;
    context.beginPath();
    context.ellipse(x, 88, 33, 41, 0, 0, 7);
    context.fill();
  };
  const film = (number) => {
    const canvas = document.createElementNS("http://www.w3.org/1999/xhtml", "canvas"); // the page is a picture
    Object.assign(canvas, {width: 320, height: 180});
    const context = canvas.getContext("2d");
    let turn = 0;
    draw(context, number, turn);
    setInterval(() => draw(context, number, ++turn), 1000);
    return canvas.captureStream(2).getVideoTracks()[0];
  };
  const join = ({id, name, audible}, number) => new Promise((joined) => {
    const track = filmed && film(number), connections = new Map();
    const socket = new WebSocket(location.origin.replace("http", "ws") + "/ws/signaling/");
    const say = (type, payload, negotiation) => socket.send(JSON.stringify({type, room, payload, negotiation}));
    const open = (peer) => {
      const pc = new RTCPeerConnection();
      connections.get(peer)?.close();
      connections.set(peer, pc);
      pc.onicecandidate = ({candidate}) => say("ice-candidate", {target_peer_id: peer, candidate}, pc.negotiation);
      return pc;
    };
    const handle = async ({type, sender, payload, negotiation}) => {
      if (type === "joined") joined();
      const {candidate} = payload ?? {};
      if (type === "ice-candidate" && candidate) await connections.get(sender)?.addIceCandidate(candidate);
      if (type !== "offer" || !filmed) return;
      let pc = connections.get(sender) ?? open(sender);
      await pc.setRemoteDescription(payload.offer).catch(async () => {
        pc = open(sender);
        await pc.setRemoteDescription(payload.offer);
      });
      pc.negotiation = negotiation;
      const first = pc.getTransceivers().find(({receiver}) => receiver.track.kind === "video");
      if (first) [first.direction] = ["sendrecv", first.sender.replaceTrack(track)];
      await pc.setLocalDescription();
      say("answer", {target_peer_id: sender, answer: pc.localDescription}, negotiation);
    };
    let queue = Promise.resolve();
    socket.onmessage = ({data}) => (queue = queue.then(() => handle(JSON.parse(data))).catch(() => {}));
    socket.onopen = () => say("join", {peer_id: id, metadata: {name, audible}});
  });
  await Promise.all(people.map(join));
}
"""


def members(names: Sequence[str]) -> list[dict[str, Any]]:
    """People with these names, of whom some are silent."""
    return [
        {"id": f"peer-{number:02}", "name": name, "audible": number % 3 != 0} for number, name in enumerate(names, 1)
    ]


def gather(context: BrowserContext, site: str, room: str, names: Sequence[str], *, filmed: bool) -> None:
    """Let people join a room, until the context is closed. `filmed`: whether they send pictures."""
    page = context.new_page()
    page.goto(site + PLAIN)
    page.evaluate(JOIN, {"room": room, "people": members(names), "filmed": filmed})
