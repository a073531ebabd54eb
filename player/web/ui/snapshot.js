// window.headwater: what a test or a curious person may read, never write.

// snapshot is a frozen copy of the player's state:
//
//   state        connecting, missing, waiting, starting, playing, paused,
//                ended, gone or failed
//   playing      the picture moves now
//   live         following the live edge
//   currentTime  seconds since the event's start
//   latencyMS    server's now minus capture time on screen; null before the
//                first picture
//   targetMS, rate, bufferMS
//   stalls, stallMS   freezes of 300 ms and more that nobody asked for and no
//                gap explains
//   jumps, gapMS gaps jumped, and how long the picture stood at them; jumpLog
//                has each
//   pipeline     on screen, '' before the first picture
//   switches     changes of pipeline on screen; switchLog has each
//   defects      defective segments that came on screen; defectLog has each
//   rendition    name of the video rendition on screen
//   subtitles    {rendition, cues}: null, or the text rendition shown; what is
//                shown now, {text, from, to}
//   segment, edge     numbers on screen and newest published
//   droppedFrames, throughput (bits per second), heldMS (median)
//   health       what the page says of it all: tone and words
//   lost, refusals    lost segments; refused requests by status
//   errors       texts, newest last; errorCount counts all
//   notifications     the event's current set, each with its phase
//   journal      the log's entries
export function snapshot(player) {
  const { onScreen, stalls, video, timeline } = player;
  const number = timeline ? timeline.numberAt(player.position()) : null;
  return deepFreeze({
    event: player.event,
    state: player.state,
    playing: player.started && player.state === 'playing' && !stalls.stalled && !video.paused && !video.seeking,
    live: Boolean(player.follow && player.isLiveEvent && player.started),
    currentTime: player.position(),
    latencyMS: player.started ? player.latency * 1000 : null,
    targetMS: player.target * 1000,
    rate: video.playbackRate,
    bufferMS: player.bufferedAhead * 1000,
    stalls: stalls.count,
    stallMS: stalls.totalMS,
    jumps: player.jumps.length,
    gapMS: stalls.gapMS,
    jumpLog: player.jumps.map((j) => ({ ...j })),
    pipeline: onScreen.pipeline,
    switches: onScreen.switches.length,
    switchLog: onScreen.switches.map((s) => ({ ...s })),
    defects: onScreen.defects.length,
    defectLog: onScreen.defects.map((d) => ({ ...d, defects: d.defects.map((x) => ({ ...x })) })),
    rendition: onScreen.record?.type === 'video' ? onScreen.record.rendition : (player.catalogue.current.video ?? ''),
    subtitles: { rendition: player.subtitles.name, cues: player.subtitles.cues.map((c) => ({ text: c.text, from: c.startTime, to: c.endTime })) },
    segment: onScreen.number,
    edge: player.edgeNumber,
    health: player.health,
    lost: player.lost.size,
    refusals: Object.fromEntries(player.refusals),
    droppedFrames: player.screen.droppedFrames,
    throughput: player.throughput.estimate,
    heldMS: player.tracks.get('video')?.held.median ?? null,
    verified: player.received.verified,
    received: { ...player.received },
    errors: player.errors.map((e) => e.text),
    errorCount: player.errorCount,
    notifications: player.notices.current.map((n) => ({
      type: n.type, id: n.id, from: n.from, to: n.to, data: n.data ? Array.from(n.data) : null,
      active: number !== null && number >= n.from && (n.to === null || number <= n.to),
    })),
    journal: player.journal.entries.map((e) => ({ ...e })),
  });
}

function deepFreeze(value) {
  if (value && typeof value === 'object' && !Object.isFrozen(value)) {
    Object.freeze(value);
    Object.values(value).forEach(deepFreeze);
  }
  return value;
}
