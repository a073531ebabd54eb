// From an event's name to its picture: asks for the configuration and the
// time, waits for the event to begin, opens the MediaSource, and opens it
// again when the browser gives up on it.

import { joinDelay } from '../core/joining.js';
import { Timeline } from '../core/timeline.js';
import { supports } from './screen.js';
import { mimeOf } from './sink.js';
import { Track, sleep } from './track.js';
import { Watcher } from './watcher.js';

const SYNC_MS = 20_000;
// Without an answer from /time for this long, the viewer's clock has to do.
const UNSYNCED_MS = 1500;
const REBUILD_MS = [250, 8000];

export class Session {
  constructor(player) {
    this.player = player;
    this.opening = null;
    this.rebuilt = { at: -Infinity, wait: REBUILD_MS[0], count: 0 };
    this.watcher = new Watcher({
      url: (path) => player.url(path),
      changed: (config) => this.#configured(config).catch((error) => player.fault(error)),
      said: (headers) => player.saw(headers),
      missing: () => this.#missing(),
      failing: (message) => this.#unreachable(message),
      idle: () => ['waiting', 'ended', 'gone'].includes(player.state),
    });
  }

  start() {
    const { signal } = this.player.stopper;
    this.begunAt = this.player.clock.monotonic();
    this.watcher.run();
    this.#keepTime(signal);
    signal.addEventListener('abort', () => this.watcher.stop());
  }

  async #keepTime(signal) {
    const { clock } = this.player;
    for (let i = 0; !signal.aborted; i++) {
      await clock.sync().catch(() => {});
      // Several exchanges at the beginning: the quickest is the best, and the
      // first ones compete with the page's own loading.
      const first = i < 3 ? 50 : 1000;
      await sleep(i < 8 || !clock.synchronised ? first : SYNC_MS, signal);
    }
  }

  #missing() {
    const { player } = this;
    if (player.config) return;
    player.state = 'missing';
    player.detail = `The edge knows no event ${player.event}.`;
  }

  #unreachable(message) {
    const { player } = this;
    if (player.config) return;
    player.state = 'connecting';
    player.detail = `The edge does not answer (${message}).`;
    player.error(`event.json: ${message}`);
  }

  async #configured(config) {
    const { player } = this;
    let timeline;
    try {
      timeline = new Timeline(config);
    } catch (error) {
      this.#fail(`The event's configuration cannot be read: ${error.message}`);
      return;
    }
    const before = player.timeline;
    const version = player.config?.version;
    const first = player.config === null;
    player.config = config;
    player.timeline = timeline;
    if (first || version !== config.version) player.catalogue.update(config.renditions ?? [], config.generations);
    player.subtitles.update();
    if (!first && version !== config.version) player.journal.add('event', 'info', `The event's configuration is now version ${config.version}`);
    const moved = before && ['startNS', 'first', 'ticks', 'timescale', 'mediaTime'].some((k) => before[k] !== timeline[k]);
    if (moved) player.notices.reset();
    if (first || moved) await this.#begin();
    else if (player.started && String(player.catalogue.types()) !== String([...player.tracks.keys()])) await this.#open(player.position());
    else if (player.state === 'ended' && player.isLiveEvent) player.goLive();
  }

  #fail(detail) {
    this.player.state = 'failed';
    this.player.detail = detail;
  }

  async #begin() {
    const { player } = this;
    const { clock, stopper: { signal } } = player;
    while (!clock.synchronised && !signal.aborted && clock.monotonic() - this.begunAt < UNSYNCED_MS) await sleep(50, signal);
    player.state = 'waiting';
    // The start may be moved while we wait for it.
    const { timeline } = player;
    while (!signal.aborted && player.timeline.startNS === timeline.startNS && clock.now() < timeline.originMS) {
      await sleep(Math.min(250, timeline.originMS - clock.now()), signal);
    }
    const joinMS = player.config.join_ms;
    await sleep(joinDelay({ joinMS, firstMS: timeline.expectedMS(timeline.first), now: clock.now() }), signal);
    if (signal.aborted || player.timeline.startNS !== timeline.startNS) return;
    const now = clock.now();
    if (player.timeline.finished(now) && timeline.oldestPosition(now) >= player.timeline.endPosition) {
      player.state = 'gone';
      return;
    }
    player.follow = player.isLiveEvent;
    player.playhead.retarget();
    await this.#open(player.follow ? player.livePosition(now) : timeline.oldestPosition(now));
  }

  async #open(position) {
    const { player } = this;
    player.state = 'starting';
    const attempt = {};
    this.opening = attempt;
    for (const track of player.tracks.values()) track.stop();
    const tracks = [];
    for (const type of player.catalogue.types()) {
      const codecs = await this.#codecs(type, player.timeline.numberAt(position), attempt);
      if (this.opening !== attempt) return;
      if (codecs) tracks.push({ type, codecs });
    }
    if (player.stopper.signal.aborted) return;
    if (tracks.length === 0) {
      this.#fail('This browser can play none of its renditions.');
      return;
    }
    if (!(await player.screen.open(tracks, player.timeline.timestampOffset)) || this.opening !== attempt) return;
    player.tracks.clear();
    for (const { type } of tracks) player.tracks.set(type, new Track(player, type, player.screen.sinks.get(type)));
    player.startedAt = null;
    player.playhead.pending = { position };
    player.startTracks(position);
    player.subtitles.update();
  }

  // The codecs of the rendition to begin with at segment n, from its init segment, which
  // does not exist before the event's first one was published.
  async #codecs(type, n, attempt) {
    const { player } = this;
    const { catalogue, stopper: { signal } } = player;
    while (!signal.aborted && this.opening === attempt) {
      if (catalogue.byType[type].length === 0) return null;
      const rendition = player.choose(type);
      const init = await catalogue.init(rendition, n, signal);
      if (init.headers) player.saw(init.headers);
      if (init.outcome !== 'segment') {
        if (!['later', 'cancelled'].includes(init.outcome)) player.failing(type, 'init', init);
        await sleep(Math.max(250, Math.min(init.waitMS ?? 500, 1000)), signal);
        continue;
      }
      player.answered(type);
      if (supports(mimeOf(type, init.codecs))) return init.codecs;
      player.journal.add('quality', 'warn', `This browser cannot play ${rendition.name} (${init.codecs || 'unknown codec'})`);
      catalogue.drop(type, rendition.name);
    }
    return null;
  }

  // The element gave up: on bytes that it cannot decode, or on its decoder.
  rebuild() {
    const { player, rebuilt } = this;
    const { error } = player.video;
    if (!error || !player.screen.source) return;
    player.error(`media element: ${error.message || `code ${error.code}`}`);
    player.journal.add('stall', 'bad', 'The browser gave up on the stream; starting it again');
    const { playhead } = player;
    const position = player.follow ? player.livePosition(player.clock.now()) : Math.max(playhead.position, playhead.skipTo ?? 0);
    playhead.skipTo = null;
    for (const track of player.tracks.values()) track.stop();
    player.tracks.clear();
    player.screen.close();
    const now = player.clock.monotonic();
    const quiet = now - rebuilt.at > 30_000;
    const [least, most] = REBUILD_MS;
    this.rebuilt = { at: now, wait: quiet ? least : Math.min(most, rebuilt.wait * 2), count: rebuilt.count + 1 };
    const attempt = {};
    this.opening = attempt;
    sleep(this.rebuilt.wait, player.stopper.signal).then(() => {
      if (!player.stopper.signal.aborted && this.opening === attempt) return this.#open(position);
    }).catch((e) => player.fault(e));
  }
}
