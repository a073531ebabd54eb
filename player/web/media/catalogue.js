// The event's renditions: which can be played here, which are chosen, and
// their init segments.

import { initFile, initOf } from '../core/generations.js';
import { choose } from '../core/ladder.js';
import { readInit } from '../core/mp4.js';
import { get } from '../core/segment.js';
import { mimeOf } from './sink.js';

export class Catalogue {
  // supports(mime) says what this browser plays; url(path) makes addresses.
  constructor({ supports, url }) {
    this.supports = supports;
    this.url = url;
    this.byType = { video: [], audio: [] };
    // Subtitles and captions of kinds that this page shows.
    this.texts = [];
    // The names chosen by hand; null is automatic.
    this.manual = { video: null, audio: null };
    this.current = { video: null, audio: null };
    this.unplayable = new Set();
    this.inits = new Map();
    this.generations = [];
  }

  // update takes a new configuration's renditions and generations. What was learned of init
  // segments is learned anew: an operator may have replaced them.
  update(renditions, generations = []) {
    this.inits.clear();
    this.generations = generations;
    this.texts = renditions.filter((r) => r.type === 'text' && /^(wvtt|stpp|$)/.test(r.codecs ?? '') && !r.scheme);
    for (const type of ['video', 'audio']) {
      const playable = renditions.filter((r) => r.type === type && this.#playable(r));
      this.byType[type] = playable.sort((a, b) => a.bandwidth - b.bandwidth);
      const has = (name) => playable.some((r) => r.name === name);
      if (!has(this.manual[type])) this.manual[type] = null;
      if (!has(this.current[type])) this.current[type] = null;
    }
  }

  #playable(r) {
    if (this.unplayable.has(r.name)) return false;
    return !r.codecs || this.supports(mimeOf(r.type, r.codecs));
  }

  types() {
    return ['video', 'audio'].filter((type) => this.byType[type].length > 0);
  }

  of(type, name) {
    return this.byType[type].find((r) => r.name === name) ?? null;
  }

  lowest(type) {
    return this.byType[type][0] ?? null;
  }

  // The rendition to ask for next, {rendition, reason}. Audio is by hand or
  // the best there is; conditions are those of choose.
  pick(type, conditions) {
    const manual = this.of(type, this.manual[type]);
    let picked;
    if (manual) picked = { rendition: manual, reason: 'chosen by hand' };
    else if (type === 'audio') picked = { rendition: this.#bestAudio(), reason: 'steady' };
    else picked = choose({ renditions: this.byType[type], current: this.current[type], ...conditions });
    const before = this.current[type];
    this.current[type] = picked.rendition.name;
    return { ...picked, changed: before !== null && before !== picked.rendition.name, before };
  }

  // Of the first language in the event's order of bandwidth: the best.
  #bestAudio() {
    const current = this.of('audio', this.current.audio);
    if (current) return current;
    const { language } = this.byType.audio[0];
    return this.byType.audio.filter((r) => r.language === language).at(-1);
  }

  // The init segment of a rendition's segment n as a result of get, with codecs and
  // timescale; fetched once, the same object for each segment. Failures are not kept.
  async init(rendition, n, signal) {
    const path = `${rendition.name}/${initFile(initOf(this.generations, rendition.name, n))}`;
    const known = this.inits.get(path);
    if (known) return known;
    const result = await get(this.url(path), { signal });
    if (result.outcome !== 'segment') return result;
    let read = { codecs: '', timescale: 0, channels: 0, defaults: { duration: 0, size: 0, flags: 0 } };
    try {
      read = readInit(result.bytes);
    } catch {
      // A codec that this page cannot name: the event's own word is used.
    }
    const init = { ...result, ...read, codecs: read.codecs || rendition.codecs || '', timescale: read.timescale || rendition.timescale || 0 };
    this.inits.set(path, init);
    return init;
  }

  // drop takes a rendition out that turned out not to be playable here.
  drop(type, name) {
    this.unplayable.add(name);
    this.byType[type] = this.byType[type].filter((r) => r.name !== name);
    if (this.current[type] === name) this.current[type] = null;
    if (this.manual[type] === name) this.manual[type] = null;
  }
}
