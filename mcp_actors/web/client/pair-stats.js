/** What the statistics of an RTCPeerConnection say. */

/** @param {RTCPeerConnection} pc @returns {Promise<Map<string, Record<string, unknown>>>} */
async function statsOf(pc) {
  const report = await pc.getStats();
  /** @type {Map<string, Record<string, unknown>>} */
  const stats = new Map();
  report.forEach((entry, id) => stats.set(id, entry));
  return stats;
}

/** The bytes that have arrived on the path, without those of ICE. @param {RTCPeerConnection} pc */
export async function bytesReceived(pc) {
  const entries = [...(await statsOf(pc)).values()].filter(({type}) => type === "transport");
  return entries.reduce((sum, {bytesReceived: bytes}) => sum + Number(bytes ?? 0), 0);
}

/** Whether media goes, or went a moment ago, over a TURN server. @param {RTCPeerConnection} pc */
export async function isRelayed(pc) {
  const stats = await statsOf(pc);
  const ends = [...stats.values()]
    .filter(({type, nominated, state}) => type === "candidate-pair" && nominated && state === "succeeded")
    .flatMap(({localCandidateId, remoteCandidateId}) => [localCandidateId, remoteCandidateId]);
  return ends.some((id) => stats.get(String(id))?.candidateType === "relay");
}
