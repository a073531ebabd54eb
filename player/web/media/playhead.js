// The playhead's keeper. Ten times a second it looks where the playhead is and
// decides: begin, jump a hole, play faster or slower, leap to live, end.

import { aheadOf, nextAfter, rangeAt } from '../core/gaps.js';
import { choose, downloadSeconds } from '../core/ladder.js';
import { autoTarget, farOff, lowestTarget, pace } from '../core/pace.js';
import { Stalls } from '../core/stalls.js';

// The download time that an automatic target makes room for, in seconds.
const PATIENCE = 2;
// What to keep in memory ahead of the playhead, in seconds.
const KEEP_AHEAD = 90;
const TRIM_TICKS = 50;
// How long the first picture may wait for the rest of the way to live.
const FIRST_MS = 1000;
// A decoder that stands this long with media at hand is nudged.
const NUDGE_MS = 3000;
const LEAP_MS = 4000;
// A wait at a gap that lasts longer than so many segments is a stall.
const GAP_SEGMENTS = 2;

export class Playhead {
  constructor(player) {
    this.player = player;
    this.stalls = new Stalls();
    // Where to be once there is something to show: {position, since}.
    this.pending = null;
    // Where a seek that a person asked for went; null once it plays there.
    this.excused = null;
    // The latency to hold, in seconds: manual, or found by itself.
    this.manualTarget = null;
    this.target = 3;
    this.jumps = [];
    this.skipTo = null;
    this.nudgedAt = -Infinity;
    // Since when there is something to play at the playhead.
    this.mediaSince = null;
    this.leaptAt = -Infinity;
    this.trimIn = TRIM_TICKS;
    this.ending = false;
  }

  get position() {
    return this.pending?.position ?? this.player.video.currentTime;
  }

  get lowestTarget() {
    return lowestTarget(this.player.timeline?.segment ?? 2);
  }

  // moveTo seeks and makes the tracks go on from there. A seek that nobody
  // asked for is not excused: a freeze before it goes on counting.
  moveTo(position, excused = true) {
    const { player } = this;
    this.#stretch();
    player.onScreen.moved();
    if (excused) this.stalls.reset();
    if (player.video.readyState >= 1 && !this.pending) {
      this.excused = excused ? position : null;
      player.video.currentTime = position;
    } else {
      this.pending = { position };
    }
    player.startTracks(position);
  }

  tick() {
    const { player } = this;
    if (!player.timeline || player.tracks.size === 0) return;
    this.#stretch();
    this.retarget();
    const ranges = player.screen.ranges;
    if (this.pending) this.#begin(ranges);
    if (!player.started) return;
    const at = player.video.currentTime;
    this.#watch(at);
    this.#jumpHole(ranges, at);
    this.#keepPace(ranges);
    player.onScreen.at(player.timeline.numberAt(player.video.currentTime + 0.02));
    this.#watchEnd();
    this.#keepInWindow();
    if (--this.trimIn > 0) return;
    this.trimIn = TRIM_TICKS;
    for (const sink of player.screen.sinks.values()) sink.trim(KEEP_AHEAD);
  }

  // Lets the element seek to everything there is and is about to be.
  #stretch() {
    const { timeline, clock, screen } = this.player;
    screen.setSeekable(0, Math.max(1, timeline.positionAt(clock.now()) + 60));
  }

  retarget() {
    const { player } = this;
    if (this.manualTarget !== null) {
      this.target = this.manualTarget;
      return;
    }
    const delays = [...player.tracks.values()].flatMap((t) => t.arrival.values).map((v) => v / 1000);
    const { segment, allowanceMS } = player.timeline;
    // Room for the rendition that the network could carry.
    const { catalogue } = player;
    const renditions = catalogue.byType.video;
    if (renditions.length) {
      const estimate = player.throughput.estimate;
      const manual = catalogue.of('video', catalogue.manual.video);
      const current = catalogue.current.video;
      const best = manual ?? choose({ renditions, current, estimate, segment, slack: PATIENCE }).rendition;
      delays.push(this.#publication() + Math.min(PATIENCE, downloadSeconds(best, segment, estimate)));
    }
    this.target = Math.max(this.lowestTarget, autoTarget({ segment, delays, expected: allowanceMS / 1000 }));
  }

  // Seconds from a segment's last frame to its publication.
  #publication() {
    const { tracks, timeline } = this.player;
    return (tracks.get('video')?.publication.median ?? timeline.allowanceMS) / 1000;
  }

  // How long a download may take before playback runs dry, in seconds.
  get slack() {
    const { player } = this;
    if (!player.follow) return Math.max(4, player.bufferedAhead);
    const latency = player.started ? Math.min(player.latency, this.target) : this.target;
    return Math.max(0.1, latency - player.timeline.segment - this.#publication());
  }

  // The first picture: where to begin is known once something is there.
  #begin(ranges) {
    const { player, pending } = this;
    if (player.video.readyState < 1) return;
    let { position } = pending;
    let range = rangeAt(ranges, position);
    if (!range) {
      const next = nextAfter(ranges, position);
      if (next === null || !this.#decided(position, next)) return;
      position = next + 0.01;
      range = rangeAt(ranges, position);
      if (!range) return;
    }
    if (player.follow) {
      const live = player.livePosition(player.clock.now());
      // The rest of the way to live is about to arrive: begin there, rather
      // than to catch up before everybody's eyes. But not for long.
      pending.since ??= player.clock.monotonic();
      const more = player.timeline.numberAt(range[1] + 0.1) <= (player.edgeNumber ?? -1);
      if (live > range[1] - 0.3 && more && player.clock.monotonic() - pending.since < FIRST_MS) return;
      position = Math.max(position, Math.min(live, range[1] - 0.3));
    }
    this.pending = null;
    player.video.currentTime = Math.max(position, range[0] + 0.001);
    this.excused = player.video.currentTime;
    this.stalls.reset();
    player.begun();
  }

  #watch(at) {
    const { player } = this;
    if (this.excused !== null && !player.video.seeking && Math.abs(at - this.excused) > 0.05) this.excused = null;
    const should = player.state === 'playing' && player.wantPlay && !player.blocked && this.excused === null && !player.video.ended;
    const change = this.stalls.tick(player.clock.monotonic(), at, should, this.#missing(at) ? GAP_SEGMENTS * player.timeline.segment * 1000 : 0);
    if (change === 'began') {
      const why = player.trouble ? 'no connection' : `waiting for segment ${player.timeline.numberAt(at + 0.05)}`;
      player.journal.add('stall', 'bad', `The picture stands: ${why}`);
    } else if (change) {
      player.journal.add('stall', 'good', `The picture moves again after ${(change.endedMS / 1000).toFixed(2)} s`);
    }
  }

  // Whether the playhead stands before something that is late or lost, and not
  // for want of a connection.
  #missing(at) {
    const { player } = this;
    if (player.trouble) return false;
    const n = player.timeline.numberAt(at + player.bufferedAhead + 0.05);
    // Appended, and yet not there: the hole is in it.
    return [...player.tracks.values()].some((t) => ['lost', 'broken', 'overdue', 'segment'].includes(t.fateOf(n)));
  }

  // Whether everything that is missing between two positions will not come any
  // more, or is late enough at the live edge not to be waited for.
  #decided(from, to) {
    const { timeline, tracks, follow } = this.player;
    for (const track of tracks.values()) {
      const held = track.sink.ranges;
      for (let n = timeline.numberAt(from + 0.02); n <= timeline.numberAt(to - 0.02); n++) {
        const low = Math.max(from, timeline.positionOf(n)) + 0.05;
        const high = Math.min(to, timeline.positionOf(n + 1)) - 0.05;
        if (held.some(([a, b]) => a <= low && b >= high)) continue;
        const fate = track.fateOf(n);
        if (!fate || (fate === 'overdue' && !follow)) return false;
      }
    }
    return true;
  }

  #jumpHole(ranges, at) {
    const { player } = this;
    if (!player.wantPlay) return;
    const ahead = aheadOf(ranges, at);
    // A seek into a hole never ends by itself; one into media does.
    if (player.video.seeking && ahead > 0) return;
    const frozen = this.stalls.frozenMS(player.clock.monotonic());
    // The playhead stops a little before the end of what is buffered.
    if (ahead > 0.05 && !(frozen > 150 && ahead < 0.35)) return this.#nudge(frozen, at);
    this.mediaSince = null;
    const end = at + ahead;
    const next = nextAfter(ranges, end);
    if (next === null || !this.#decided(end, next)) return;
    const first = player.timeline.numberAt(end + 0.05);
    const last = player.timeline.numberAt(next - 0.05);
    const which = last > first ? `segments ${first}–${last}` : `segment ${first}`;
    const stoodMS = this.stalls.jumped(player.clock.monotonic(), next - end);
    this.jumps.push({ at: player.clock.now(), from: end, to: next, first, last, stoodMS });
    const stood = stoodMS > 200 ? ` after waiting ${(stoodMS / 1000).toFixed(2)} s` : '';
    player.journal.add('gap', 'warn', `Jumped a gap of ${(next - end).toFixed(2)} s in ${which}${stood}`);
    player.video.currentTime = next + 0.01;
  }

  // Media is there, and yet the playhead stands: a decoder that lost its way
  // finds it again after a seek.
  #nudge(frozen, at) {
    const { player } = this;
    const now = player.clock.monotonic();
    this.mediaSince ??= now;
    const stood = Math.min(frozen, now - this.mediaSince);
    if (stood < NUDGE_MS || now - this.nudgedAt < NUDGE_MS || !player.visible()) return;
    this.nudgedAt = now;
    player.journal.add('stall', 'warn', 'The decoder stands; nudging it');
    player.video.currentTime = at + 0.05;
    player.startPlayback();
  }

  #keepPace(ranges) {
    const { player } = this;
    const { video } = player;
    let rate = 1;
    if (player.follow && player.state === 'playing' && player.isLiveEvent && !this.pending) {
      if (this.#leap(ranges)) return;
      const ahead = aheadOf(ranges, video.currentTime);
      if (!this.stalls.stalled) rate = pace({ latency: player.latency, target: this.target, ahead, rate: video.playbackRate });
    }
    if (rate !== video.playbackRate) video.playbackRate = rate;
  }

  // Too far from the target to correct by the rate: go there.
  #leap(ranges) {
    const { player } = this;
    const { latency, timeline } = player;
    if (!farOff({ latency, target: this.target, segment: timeline.segment })) return false;
    const now = player.clock.monotonic();
    if (player.trouble || now - this.leaptAt < LEAP_MS) return false;
    if (player.video.seeking && rangeAt(ranges, player.video.currentTime)) return false;
    const live = player.livePosition(player.clock.now());
    // Towards nothing is no use: while nothing is published, stay.
    if (!rangeAt(ranges, live) && (player.edgeNumber ?? -1) < timeline.numberAt(live)) return false;
    this.leaptAt = now;
    player.journal.add('live', 'info', `${latency.toFixed(1)} s behind, far from the target of ${this.target.toFixed(1)} s: moving there`);
    this.moveTo(live, false);
    return true;
  }

  #watchEnd() {
    const { player } = this;
    if (player.timeline.last === null || player.screen.ended || this.ending) return;
    if (![...player.tracks.values()].every((t) => t.finished)) return;
    this.ending = true;
    player.screen.end().catch((error) => player.fault(error)).finally(() => (this.ending = false));
  }

  // A pause can outlast the DVR window.
  #keepInWindow() {
    const { player } = this;
    const { timeline } = player;
    const oldest = timeline.oldestPosition(player.clock.now());
    if (player.video.currentTime >= oldest - timeline.segment || player.state === 'ended') return;
    player.journal.add('live', 'warn', 'What was on screen has left the DVR window; going to its beginning');
    player.seek(oldest + timeline.segment);
  }
}
