// The player of one event, as the page and the tracks see it.
//
// What a person wants comes in through play, pause, seek, goLive, setTarget
// and setRendition. The session brings the event, the tracks bring segments,
// the playhead's keeper makes sense of both; they meet here.

import { Clock } from '../core/clock.js';
import { rangeAt } from '../core/gaps.js';
import { healthOf, lostFrom } from '../core/health.js';
import { integerOf, notificationsOf } from '../core/headers.js';
import { backDelay } from '../core/joining.js';
import { Journal } from '../core/journal.js';
import { Notices } from '../core/notices.js';
import { Records } from '../core/records.js';
import { Throughput } from '../core/throughput.js';
import { Catalogue } from './catalogue.js';
import { OnScreen } from './onscreen.js';
import { Playhead } from './playhead.js';
import { Screen, supports } from './screen.js';
import { Session } from './session.js';
import { Subtitles } from './subtitles.js';

const TICK_MS = 100;
// How far ahead to load, in seconds: at the live edge all there is, elsewhere
// enough for a bad minute.
const LIVE_GOAL = 60;
const DVR_GOAL = 24;
const KEEP_ERRORS = 200;

export class Player {
  // edge is an origin like http://host:port, event is TENANT/EVENT, initial
  // the throughput to begin with in bits per second.
  constructor({ video, edge, event, initial }) {
    this.video = video;
    this.edge = edge;
    this.event = event;
    this.clock = new Clock({ fetchTime: () => this.#fetchTime() });
    this.journal = new Journal(() => this.clock.now());
    this.records = new Records();
    this.notices = new Notices();
    this.onScreen = new OnScreen({ records: this.records, notices: this.notices, journal: this.journal, now: () => this.clock.now() });
    this.throughput = new Throughput(initial);
    this.catalogue = new Catalogue({ supports, url: (path) => this.url(path) });
    this.screen = new Screen(video);
    this.tracks = new Map();
    this.playhead = new Playhead(this);
    this.subtitles = new Subtitles(this);
    this.stopper = new AbortController();
    this.session = new Session(this);

    this.config = null;
    this.timeline = null;
    // connecting, missing, waiting (for the start), starting, playing, paused,
    // ended, gone or failed; detail says more of some. A stall is playing with
    // stalls.stalled.
    this.state = 'connecting';
    this.detail = '';
    this.follow = true;
    this.wantPlay = true;
    // The browser wants a click first.
    this.blocked = false;
    this.startedAt = null;
    this.edgeNumber = null;
    this.lastHeaders = null;
    this.received = { segments: 0, bytes: 0, verified: 0 };
    // How often a segment was refused, by status; the numbers that are lost.
    this.refusals = new Map();
    this.lost = new Set();
    this.trouble = null;
    this.troubled = new Set();
    this.errors = [];
    this.errorCount = 0;
  }

  // start runs until stop.
  start() {
    const { signal } = this.stopper;
    const on = (target, type, f) => target.addEventListener(type, f, { signal });
    on(this.video, 'error', () => this.session.rebuild());
    on(this.video, 'ended', () => this.#ended());
    on(this.video, 'play', () => this.#played());
    on(this.video, 'pause', () => this.#paused());
    on(document, 'visibilitychange', () => this.#visibility());
    on(window, 'online', () => this.refresh());
    this.session.start();
    const ticker = setInterval(() => this.playhead.tick(), TICK_MS);
    signal.addEventListener('abort', () => clearInterval(ticker));
  }

  stop() {
    this.stopper.abort();
    for (const track of this.tracks.values()) track.stop();
    this.subtitles.stop();
    this.screen.close();
  }

  // ---- what a person asks for

  play() {
    if (this.state === 'ended') return this.seek(this.timeline.oldestPosition(this.clock.now()));
    this.wantPlay = true;
    this.playhead.excused ??= this.video.currentTime;
    if (this.state === 'paused') this.state = 'playing';
    if (this.isLiveEvent && this.latency - this.target < 1) this.follow = true;
    this.startPlayback();
  }

  pause() {
    this.wantPlay = false;
    this.follow = false;
    this.video.pause();
    if (this.state === 'playing') this.state = 'paused';
  }

  toggle() {
    if (this.wantPlay && !this.blocked && this.state !== 'ended') this.pause();
    else this.play();
  }

  // seek goes to a position; close enough to live is live.
  seek(position) {
    if (!this.timeline) return;
    const now = this.clock.now();
    const live = this.livePosition(now);
    if (this.isLiveEvent && position >= live - 1) return this.goLive();
    this.follow = false;
    const newest = this.isLiveEvent ? live : this.timeline.endPosition - 0.5;
    this.playhead.moveTo(Math.max(this.timeline.oldestPosition(now), Math.min(position, newest)));
    this.#resume();
  }

  seekBy(seconds) {
    this.seek(this.position() + seconds);
  }

  goLive() {
    if (!this.timeline) return;
    if (!this.isLiveEvent) return this.seek(this.timeline.endPosition);
    this.follow = true;
    this.wantPlay = true;
    const live = this.livePosition(this.clock.now());
    if (Math.abs(live - this.video.currentTime) > 0.5 || this.playhead.pending) this.playhead.moveTo(live);
    this.#resume();
  }

  // setTarget sets the latency in seconds; null lets the player find it.
  setTarget(seconds) {
    this.playhead.manualTarget = seconds === null ? null : Math.max(this.playhead.lowestTarget, seconds);
  }

  // setRendition chooses by hand; null is automatic. What is buffered ahead
  // in the old one is replaced, unless it is about to play.
  setRendition(type, name) {
    this.catalogue.manual[type] = name;
    const track = this.tracks.get(type);
    if (!track || this.playhead.pending) return;
    const next = this.timeline.numberAt(this.position() + 0.5) + 1;
    const from = this.timeline.positionOf(next);
    if (!track.sink.ranges.some(([, to]) => to > from + 0.1)) return;
    track.stop();
    track.sink.remove(from, Infinity).catch(() => {}).then(() => track.start(next));
  }

  // ---- where things are

  // The playhead in seconds from the event's start, or where it is going.
  position() {
    return this.playhead.position;
  }

  // Seconds between what is on screen and the server's now.
  get latency() {
    return (this.clock.now() - this.timeline.instantOf(this.position())) / 1000;
  }

  get target() {
    return this.playhead.target;
  }

  get stalls() {
    return this.playhead.stalls;
  }

  get jumps() {
    return this.playhead.jumps;
  }

  // Seconds that can be played from the playhead on.
  get bufferedAhead() {
    return this.screen.aheadOf(this.position());
  }

  // Whether the picture stands though it should move: also at a gap.
  get stands() {
    return this.started && this.state === 'playing' && this.stalls.stalled;
  }

  // What to tell a viewer of it all.
  get health() {
    const { timeline, trouble, stands, onScreen } = this;
    const n = timeline ? timeline.numberAt(this.position() + 0.05) : 0;
    const from = stands ? timeline.numberAt(this.position() + this.bufferedAhead + 0.05) : n;
    const newest = timeline ? timeline.numberAt(timeline.positionAt(this.clock.now())) : -1;
    const { lost, ahead } = lostFrom(from, Math.min(newest, from + (stands ? 1000 : 5)), (i) => this.lost.has(i));
    return healthOf({ connected: this.config !== null, trouble, stands, lost, ahead, defects: onScreen.wrong });
  }

  // Where live playback is at an instant.
  livePosition(now) {
    const live = this.timeline.positionAt(now) - this.target;
    const end = this.timeline.endPosition;
    return Math.max(0, end === null ? live : Math.min(live, end - 0.2));
  }

  // Whether more is to come.
  get isLiveEvent() {
    return Boolean(this.timeline) && !this.timeline.finished(this.clock.now());
  }

  get started() {
    return this.startedAt !== null;
  }

  // ---- for the tracks, the session and the playhead

  url(path) {
    return `${this.edge}/${this.event}/${path}`;
  }

  visible() {
    return document.visibilityState !== 'hidden';
  }

  bufferGoal() {
    return this.follow ? LIVE_GOAL : DVR_GOAL;
  }

  choose(type) {
    const { estimate } = this.throughput;
    const picked = this.catalogue.pick(type, { estimate, segment: this.timeline.segment, slack: this.playhead.slack });
    if (picked.changed && type === 'video' && this.started) {
      this.journal.add('quality', 'info', `Video ${picked.before} → ${picked.rendition.name}: ${picked.reason}`);
    }
    return picked.rendition;
  }

  startTracks(position) {
    for (const track of this.tracks.values()) {
      const range = rangeAt(track.sink.ranges, position);
      track.start(this.timeline.numberAt(range ? Math.max(position, range[1] - 0.05) : position));
    }
    this.subtitles.moved();
  }

  // begun is called with the first picture, also after a new start.
  begun() {
    this.startedAt = this.clock.now();
    this.state = this.wantPlay ? 'playing' : 'paused';
    this.journal.add('live', 'good', this.follow ? `Live, ${this.latency.toFixed(2)} s behind the camera` : 'Playing from the recording');
    if (this.wantPlay) this.startPlayback();
  }

  startPlayback() {
    this.video.play()?.then(
      () => (this.blocked = false),
      (error) => {
        if (error.name === 'NotAllowedError') this.blocked = true;
      },
    );
  }

  saw(headers) {
    this.lastHeaders = headers;
    this.session.watcher.saw(integerOf(headers, 'Live-Version'));
    const edge = integerOf(headers, 'Live-Edge');
    if (edge !== null && edge > (this.edgeNumber ?? -1)) this.edgeNumber = edge;
    this.notices.set(notificationsOf(headers));
  }

  refresh() {
    this.session.watcher.refresh();
  }

  failing(type, number, { outcome, status, error }) {
    const what = outcome === 'busy' ? `the edge answers ${status}` : error;
    this.error(`segment ${number} ${type}: ${what}`);
    this.troubled.add(type);
    if (this.trouble) return;
    this.trouble = { since: this.clock.now(), what };
    this.journal.add('network', 'bad', `Connection trouble (${what}); trying again`);
  }

  // backDelay is how long to wait before the edge is asked again that failed; least is
  // what one would wait alone.
  backDelay(least) {
    const failingMS = this.trouble ? this.clock.now() - this.trouble.since : 0;
    return backDelay({ joinMS: this.config.join_ms, segmentMS: this.timeline.segment * 1000, failingMS, least });
  }

  // refused counts an answer that was not a segment, though one was due.
  refused({ status }) {
    this.refusals.set(status, (this.refusals.get(status) ?? 0) + 1);
  }

  answered(type) {
    this.troubled.delete(type);
    if (!this.trouble || this.troubled.size > 0) return;
    const seconds = (this.clock.now() - this.trouble.since) / 1000;
    this.trouble = null;
    this.journal.add('network', 'good', `The connection is back after ${seconds.toFixed(1)} s`);
  }

  abandoned(record, from, to) {
    this.journal.add('quality', 'warn', `Segment ${record.number} comes too slowly in ${from.name}; taking ${to.name}`);
  }

  settled(record) {
    if (record.state === 'segment') {
      this.received.segments++;
      this.received.bytes += record.bytes;
      if (record.verified) this.received.verified++;
    }
    if (record.state === 'lost' || record.state === 'broken') this.lost.add(record.number);
    if (record.state === 'lost') this.journal.add('gap', 'bad', `Segment ${record.number} ${record.type} is lost`);
    if (record.state === 'broken') this.journal.add('gap', 'bad', `Segment ${record.number} ${record.type} cannot be played where it belongs`);
  }

  unplayable(record, error) {
    this.error(`segment ${record.number} ${record.type}: ${error.message}`);
    this.playhead.skipTo = this.timeline.positionOf(record.number + 1);
  }

  // A fault of this page.
  fault(error) {
    this.error(error.message);
    console.error(error);
  }

  error(text) {
    this.errorCount++;
    this.errors.push({ at: this.clock.now(), text });
    if (this.errors.length > KEEP_ERRORS) this.errors.shift();
  }

  async #fetchTime() {
    const response = await fetch(`${this.edge}/time`, { cache: 'no-store', credentials: 'omit', signal: AbortSignal.timeout(5000) });
    if (!response.ok) throw new Error(`/time answered ${response.status}`);
    return response.text();
  }

  #resume() {
    if (this.state === 'ended') this.wantPlay = true;
    if (this.state === 'ended' || this.state === 'paused') this.state = this.wantPlay ? 'playing' : 'paused';
    if (this.wantPlay) this.startPlayback();
  }

  // ---- what the browser does

  #ended() {
    if (this.timeline.last === null) return;
    this.state = 'ended';
    this.wantPlay = false;
    this.follow = false;
    this.journal.add('live', 'info', 'The event has ended');
  }

  #played() {
    this.blocked = false;
    if (this.state === 'paused') this.play();
  }

  // By a media key, a headset, or the browser itself.
  #paused() {
    if (this.video.ended || this.video.error || this.state !== 'playing' || !this.wantPlay) return;
    if (this.visible()) this.pause();
  }

  #visibility() {
    if (!this.visible()) return;
    this.clock.sync().catch(() => {});
    if (this.wantPlay && this.started && this.video.paused && !this.video.ended) this.startPlayback();
  }
}
