// Subtitles: of the text rendition that is chosen the segments around the playhead, as
// cues of a text track of the video element. What is lost, or not understood, has none.

import { samplesOf } from '../core/samples.js';
import { backoff, get } from '../core/segment.js';
import { stppCues } from '../core/ttml.js';
import { goesOn, wvttCues } from '../core/wvtt.js';
import { sleep } from './track.js';

// How far ahead of the playhead cues are asked for, and kept behind it, in seconds.
const AHEAD = 30;
const BEHIND = 60;

export class Subtitles {
  // host is the Player.
  constructor(host) {
    this.host = host;
    this.name = null; // of the rendition; null: none
    this.tracks = new Map(); // text tracks by rendition
    this.settled = new Map(); // what became of segments: segment, lost, broken
    this.stopper = null;
    this.touched = false; // by hand
  }

  // The renditions that a person can choose among.
  get choices() {
    return this.host.catalogue.texts.filter((r) => r.role !== 'forced-subtitle');
  }

  // choose shows a rendition, or none.
  choose(name) {
    this.touched = true;
    this.#show(name);
  }

  // update takes what there is now: what is gone is not shown any more, and what has to be
  // shown to all, in the language that they hear, is.
  update() {
    const { catalogue } = this.host;
    const has = (name) => catalogue.texts.some((r) => r.name === name);
    if (this.name !== null && !has(this.name)) this.#show(null);
    if (this.touched || this.name !== null) return;
    const heard = catalogue.of('audio', catalogue.current.audio)?.language;
    const forced = catalogue.texts.find((r) => r.role === 'forced-subtitle' && r.language === heard);
    if (forced) this.#show(forced.name);
  }

  // moved has segments around another place asked for, and those that were lost or
  // broken asked for once more.
  moved() {
    for (const [n, fate] of this.settled) if (fate !== 'segment') this.settled.delete(n);
    if (this.name !== null) this.#start();
  }

  stop() {
    this.stopper?.abort();
    this.stopper = null;
  }

  get cues() {
    const { track } = this.tracks.get(this.name) ?? {};
    return [...(track?.activeCues ?? [])];
  }

  #show(name) {
    this.stop();
    for (const { track } of this.tracks.values()) {
      for (const cue of [...(track.cues ?? [])]) track.removeCue(cue);
      track.mode = 'disabled';
    }
    this.settled.clear();
    this.name = name;
    if (name === null) return;
    if (!this.tracks.has(name)) {
      const r = this.host.catalogue.texts.find((t) => t.name === name);
      const kind = r.role === 'caption' ? 'captions' : 'subtitles';
      this.tracks.set(name, { track: this.host.video.addTextTrack(kind, r.label || r.name, r.language ?? '') });
    }
    this.tracks.get(name).track.mode = 'showing';
    this.#start();
  }

  #start() {
    this.stop();
    this.stopper = new AbortController();
    this.#run(this.tracks.get(this.name).track, this.stopper.signal).catch((error) => this.host.fault(error));
  }

  async #run(track, signal) {
    let failures = 0;
    while (!signal.aborted) {
      const { host } = this;
      const rendition = host.catalogue.texts.find((r) => r.name === this.name);
      const n = rendition && host.timeline && host.tracks.size > 0 ? this.#next(rendition) : null;
      if (n === null) {
        await sleep(200, signal);
        continue;
      }
      const init = await host.catalogue.init(rendition, n, signal);
      const deadline = host.timeline.deadlineMS(n, rendition.name);
      const result = init.outcome !== 'segment' ? init
        : await get(host.url(`${rendition.name}/${n}.m4s`), { signal, firstByteMS: Math.max(6000, deadline - host.clock.now() + 4000) });
      if (signal.aborted || result.outcome === 'cancelled') return;
      if (result.headers) host.saw(result.headers);
      if (result.outcome === 'segment') {
        failures = 0;
        this.settled.set(n, this.#add(track, init, result.bytes) ? 'segment' : 'broken');
      } else if (result.outcome === 'lost') {
        this.settled.set(n, 'lost');
      } else {
        if (result.outcome !== 'later') host.error(`segment ${n} text: ${result.error ?? `the edge answers ${result.status}`}`);
        await sleep(host.backDelay(Math.max(result.waitMS ?? 0, backoff(++failures))), signal);
      }
      this.#forget(track);
    }
  }

  // The next segment to ask for: null where all is there.
  #next(rendition) {
    const { timeline, clock } = this.host;
    const at = this.host.position();
    for (let n = Math.max(timeline.numberAt(at), timeline.first); timeline.holds(n) && timeline.positionOf(n) < at + AHEAD; n++) {
      if (this.settled.has(n)) continue;
      return clock.now() >= timeline.dueMS(n, rendition.name) + 20 ? n : null;
    }
    return null;
  }

  #add(track, init, bytes) {
    try {
      const { samples } = samplesOf(bytes, init.defaults) ?? { samples: [] };
      this.#addCues(track, init.codecs.startsWith('stpp') ? stppCues(samples, init.timescale) : wvttCues(samples, init.timescale));
    } catch (error) {
      this.host.error(`text: ${error.message}`);
      return false;
    }
    return true;
  }

  #addCues(track, cues) {
    const offset = this.host.timeline.timestampOffset;
    const there = [...track.cues];
    for (const { from, to, text, settings } of cues) {
      const cue = { from: from + offset, to: to + offset, text, settings };
      const before = there.find((c) => goesOn({ from: c.startTime, to: c.endTime, text: c.text, settings: c.said }, cue));
      if (before) {
        before.endTime = cue.to;
        continue;
      }
      const shown = new VTTCue(cue.from, cue.to, text);
      for (const [name, value] of Object.entries(settings)) if (name in shown) shown[name] = value;
      shown.said = settings;
      track.addCue(shown);
      there.push(shown);
    }
  }

  #forget(track) {
    const oldest = this.host.position() - BEHIND;
    for (const cue of [...(track.cues ?? [])]) if (cue.endTime < oldest) track.removeCue(cue);
    const n = this.host.timeline.numberAt(oldest);
    for (const m of this.settled.keys()) if (m < n) this.settled.delete(m);
  }
}
