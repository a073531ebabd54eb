// One track (video or audio): asks for its segments in order, at the moment
// each can first be held for, and appends them.
//
// At most one download is under way, except at the live edge: when a segment
// is overdue, the next is asked for as well, so that a segment that never
// comes does not hold up the ones behind it.

import { aheadOf } from '../core/gaps.js';
import { decodeTime } from '../core/mp4.js';
import { cacheStatusOf, defectsOf, pipelineOf, publishedOf, qualityOf } from '../core/headers.js';
import { heal } from '../core/heal.js';
import { shouldAbandon } from '../core/ladder.js';
import { Window } from '../core/records.js';
import { backoff, get } from '../core/segment.js';
import { Closed } from './sink.js';

const MOST_PENDING = 3;
// A segment is overdue this long after it was expected.
const OVERDUE_MS = 250;
// Ask this much before the earliest publication that was seen lately.
const LEAD_MS = 200;
// The findings that mean a hole in the media.
const HOLES = ['short', 'missing-samples', 'gap'];

// sleep ends early, without an error, when signal is aborted.
export function sleep(ms, signal) {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, Math.max(0, ms));
    signal?.addEventListener('abort', done, { once: true });
  });
}

export class Track {
  // host is the Player.
  constructor(host, type, sink) {
    this.host = host;
    this.type = type;
    this.sink = sink;
    this.finished = false;
    this.settled = new Map();
    // Milliseconds from a segment's last frame to its publication, and to its
    // last byte here; milliseconds that requests were held.
    this.publication = new Window(12);
    this.arrival = new Window(16);
    this.held = new Window(16);
    this.heldNow = null;
    this.stopper = null;
  }

  // start begins at segment n and drops whatever was under way.
  start(n) {
    this.stop();
    this.finished = false;
    this.settled = new Map();
    this.stopper = new AbortController();
    this.#run(n, this.stopper.signal).catch((error) => this.host.fault(error));
  }

  stop() {
    this.stopper?.abort();
    this.stopper = null;
    this.heldNow = null;
  }

  // What became of segment n since start: segment, lost, skipped, broken, or
  // overdue for one that may still come; null while it is just not there.
  fateOf(n) {
    const fate = this.settled.get(n);
    if (fate) return fate;
    const record = this.host.records.get(this.type, n);
    const overdue = this.host.clock.now() > this.host.timeline.expectedMS(n, record?.rendition) + OVERDUE_MS;
    return record?.state === 'asked' && overdue ? 'overdue' : null;
  }

  async #run(n, signal) {
    const pending = new Set();
    while (!signal.aborted) {
      const { timeline } = this.host;
      n = Math.max(n, timeline.first);
      if (!timeline.holds(n)) {
        if (pending.size === 0) this.finished = true;
        await sleep(200, signal);
        continue;
      }
      // An operator can take the last rendition away, and give one back.
      if (!this.host.catalogue.lowest(this.type)) {
        await sleep(500, signal);
        continue;
      }
      this.finished = false;
      if (this.#covered(n)) {
        this.settled.set(n, 'segment');
        n++;
        continue;
      }
      await this.#turn(n, signal);
      if (signal.aborted) return;
      const task = this.#obtain(n, signal)
        .catch((error) => this.host.fault(error))
        .finally(() => pending.delete(task));
      pending.add(task);
      await Promise.race([task, this.#overdue(n, signal)]);
      while (pending.size >= MOST_PENDING) await Promise.race(pending);
      n++;
    }
  }

  #covered(n) {
    const { timeline } = this.host;
    const from = timeline.positionOf(n) + 0.1;
    const to = timeline.positionOf(n + 1) - 0.1;
    return this.sink.ranges.some(([a, b]) => a <= from && b >= to);
  }

  // Waits until there is room for n and it is time to ask for it.
  async #turn(n, signal) {
    const { host } = this;
    while (!signal.aborted && aheadOf(this.sink.ranges, host.position()) > host.bufferGoal()) await sleep(250, signal);
    while (!signal.aborted) {
      const wait = this.#askMS(n) - host.clock.now();
      if (wait <= 0) return;
      // In short steps: the clock is corrected, and hidden pages sleep longer
      // than they asked for.
      await sleep(Math.min(wait, 500), signal);
    }
  }

  #askMS(n) {
    const { timeline, visible } = this.host;
    const due = timeline.dueMS(n, this.host.catalogue.current[this.type]) + 20;
    // Timers of a hidden page fire late: ask as early as it can be held.
    if (!visible()) return due;
    const lead = this.publication.least === null ? 0 : this.publication.least - LEAD_MS;
    return Math.max(due, Math.min(timeline.endMS(n) + lead, timeline.expectedMS(n)));
  }

  // Resolves when n is overdue, still without a first byte, and the next
  // segment's time has come; never, if n is being received or is retried.
  async #overdue(n, signal) {
    const { clock, timeline, records } = this.host;
    for (;;) {
      const at = Math.max(timeline.expectedMS(n) + OVERDUE_MS, this.#askMS(n + 1));
      await sleep(Math.max(50, at - clock.now()), signal);
      if (signal.aborted) return;
      const record = records.get(this.type, n);
      if (clock.now() >= at && record?.state === 'asked' && !this.host.trouble) return;
    }
  }

  async #obtain(n, signal) {
    const { host } = this;
    const record = host.records.open(this.type, n);
    let failures = 0;
    let fresh = false;
    let lower = null;
    for (;;) {
      if (signal.aborted) return;
      if (host.timeline.positionOf(n + 1) < host.position() - 0.5) return this.#settle(record, 'skipped');
      const rendition = lower ?? host.choose(this.type);
      record.state = 'asked';
      record.rendition = rendition.name;
      record.askedMS = host.clock.now();
      const init = await host.catalogue.init(rendition, n, signal);
      const result = init.outcome === 'segment' ? await this.#get(record, rendition, n, fresh, signal) : init;
      if (signal.aborted || result.outcome === 'cancelled') return;
      if (result.headers) host.saw(result.headers);
      switch (result.outcome) {
        case 'segment':
          host.answered(this.type);
          return this.#deliver(record, rendition, init, result, failures, signal);
        case 'lost':
          host.answered(this.type);
          host.refused(result);
          return this.#settle(record, 'lost');
        case 'abandoned':
          host.throughput.add(result.received, result.downloadMS);
          lower = host.catalogue.lowest(this.type);
          host.abandoned(record, rendition, lower);
          continue;
        case 'later':
          host.answered(this.type);
          await this.#later(n, rendition, result.waitMS, signal);
          continue;
        default:
          if (result.outcome === 'busy' || result.outcome === 'refused') host.refused(result);
          failures++;
          fresh = result.outcome === 'corrupt';
          host.failing(this.type, n, result);
          await sleep(result.waitMS ?? host.backDelay(backoff(failures)), signal);
      }
    }
  }

  async #get(record, rendition, n, fresh, signal) {
    const { host } = this;
    const deadline = host.timeline.deadlineMS(n, rendition.name);
    this.heldNow = record;
    const result = await get(host.url(`${rendition.name}/${n}.m4s`), {
      signal,
      fresh,
      firstByteMS: Math.max(6000, deadline - host.clock.now() + 4000),
      keepGoing: ({ received, total, elapsed }) => {
        if (record.state === 'asked') {
          record.state = 'receiving';
          record.firstMS = host.clock.now();
        }
        const low = host.catalogue.lowest(this.type);
        if (low.name === rendition.name || host.catalogue.manual[this.type] !== null) return true;
        const ahead = aheadOf(this.sink.ranges, host.position());
        const lowerBytes = (low.bandwidth * host.timeline.segment) / 8;
        return !shouldAbandon({ received, total, elapsed, ahead, lowerBytes });
      },
    });
    if (this.heldNow === record) this.heldNow = null;
    return result;
  }

  // A 404: too early by a little, or not in this event as we know it.
  async #later(n, rendition, waitMS, signal) {
    const { host } = this;
    const place = host.timeline.placeOf(n, host.clock.now(), rendition.name);
    const early = place === 'early' || place === 'due';
    if (!early || waitMS > 5000) host.refresh();
    await sleep(Math.min(Math.max(waitMS + 5, early ? 10 : 1000), 2000), signal);
  }

  async #deliver(record, rendition, init, result, failures, signal) {
    const { host, type } = this;
    const { timeline } = host;
    const now = host.clock.now();
    const n = record.number;
    Object.assign(record, {
      arrivedMS: now,
      heldMS: result.heldMS,
      downloadMS: result.downloadMS,
      bytes: result.bytes.byteLength,
      defects: [...defectsOf(result.headers), ...qualityOf(result.headers)],
      cache: cacheStatusOf(result.headers),
      publishedMS: publishedOf(result.headers),
      verified: result.verified,
      pipeline: pipelineOf(result.headers)?.name ?? '',
      region: pipelineOf(result.headers)?.region ?? '',
    });
    // Audio, which comes at the same time, would only see what video leaves.
    if (type === 'video' || !host.tracks.has('video')) host.throughput.add(record.bytes, result.downloadMS);
    if (failures === 0) this.#measure(record, now);
    if (this.#misplaced(init.timescale, n, result.bytes)) return this.#settle(record, 'broken');
    const bytes = this.#healed(record, init, result.bytes);
    const slot = { from: timeline.positionOf(n), to: timeline.positionOf(n + 1) };
    while (!signal.aborted) {
      try {
        await this.sink.append(init, bytes, slot);
        return this.#settle(record, 'segment');
      } catch (error) {
        if (error instanceof Closed || signal.aborted) return;
        if (error.name !== 'QuotaExceededError') {
          this.#settle(record, 'broken');
          host.unplayable(record, error);
          return;
        }
        // Full even after eviction: playback has to make room first.
        await sleep(500, signal);
      }
    }
  }

  // A segment that is known to have holes, with its holes bridged.
  #healed(record, init, bytes) {
    if (!record.defects.some((d) => HOLES.includes(d.kind)) || !init.timescale) return bytes;
    const { timeline } = this.host;
    const from = timeline.decodeTimeOf(record.number, init.timescale);
    const to = timeline.decodeTimeOf(record.number + 1, init.timescale);
    const healed = heal(bytes, { type: this.type, init, from, to });
    record.bridgedMS = healed ? (healed.filledTicks / init.timescale) * 1000 : 0;
    return healed?.bytes ?? bytes;
  }

  // Takes the times of a segment of the live edge; those of an old one are
  // history.
  #measure(record, now) {
    const { timeline } = this.host;
    const { askedMS, publishedMS } = record;
    if (askedMS > timeline.deadlineMS(record.number)) return;
    const end = timeline.endMS(record.number);
    const waited = askedMS <= (publishedMS ?? end + timeline.allowanceMS);
    if (waited) this.held.add(record.heldMS);
    if (publishedMS) this.publication.add(publishedMS - end);
    // One that was there already would have come as quickly as it came now.
    if (waited) this.arrival.add(now - end);
    else if (publishedMS) this.arrival.add(publishedMS - end + now - askedMS);
  }

  // A decode time more than a whole segment away from its slot: none of it
  // would be played where it belongs.
  #misplaced(timescale, n, bytes) {
    const ticks = decodeTime(bytes);
    if (ticks === null || !timescale) return false;
    const { timeline } = this.host;
    const seconds = Number(ticks / BigInt(timescale)) + Number(ticks % BigInt(timescale)) / timescale;
    const off = seconds + timeline.timestampOffset - timeline.positionOf(n);
    return Math.abs(off) > timeline.segment;
  }

  #settle(record, state) {
    record.state = state;
    this.settled.set(record.number, state);
    this.host.settled(record);
  }
}
