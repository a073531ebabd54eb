// The bar of the DVR window: drag, point, or use the keys to go back, with
// marks where something happened.

import { clock, duration, spoken } from '../core/format.js';
import { $, h, keep, setAttr, setHidden } from './dom.js';

export class Scrub {
  constructor(player) {
    this.player = player;
    this.bar = $('scrub');
    this.dragging = null;
    this.bar.addEventListener('pointerdown', (e) => this.#press(e));
    this.bar.addEventListener('pointermove', (e) => this.#point(e));
    this.bar.addEventListener('pointerleave', () => this.bar.classList.remove('pointing'));
    this.bar.addEventListener('pointerup', (e) => this.#release(e));
    this.bar.addEventListener('pointercancel', () => this.#drop());
    this.bar.addEventListener('keydown', (e) => this.#key(e));
  }

  // The window in seconds: from the oldest that can be asked for to the point
  // that live playback is at.
  #span() {
    const { player } = this;
    const now = player.clock.now();
    const from = player.timeline.oldestPosition(now);
    const to = player.isLiveEvent ? player.livePosition(now) : player.timeline.endPosition;
    return { from, to: Math.max(to, from + 1) };
  }

  #positionOf(event) {
    const box = this.bar.getBoundingClientRect();
    const { from, to } = this.#span();
    const share = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
    return from + share * (to - from);
  }

  #press(event) {
    if (event.button !== 0 || !this.player.started) return;
    this.bar.setPointerCapture(event.pointerId);
    this.bar.classList.add('dragging');
    this.dragging = this.#positionOf(event);
    this.#tip(event);
  }

  #point(event) {
    if (!this.player.started) return;
    if (this.dragging !== null) this.dragging = this.#positionOf(event);
    else this.bar.classList.toggle('pointing', event.pointerType === 'mouse');
    this.#tip(event);
  }

  #release(event) {
    if (this.dragging === null) return;
    const position = this.#positionOf(event);
    this.#drop();
    this.player.seek(position);
  }

  #drop() {
    this.dragging = null;
    this.bar.classList.remove('dragging');
  }

  #tip(event) {
    const box = this.bar.getBoundingClientRect();
    const tip = $('scrub-tip');
    const position = this.#positionOf(event);
    const { to } = this.#span();
    const behind = to - position;
    const { isLiveEvent, timeline } = this.player;
    tip.firstChild.textContent = isLiveEvent ? (behind < 1 ? 'Live' : `−${duration(behind)}`) : duration(position);
    tip.lastChild.textContent = clock(timeline.instantOf(position));
    const half = tip.offsetWidth / 2;
    tip.style.left = `${Math.min(box.width - half, Math.max(half, event.clientX - box.left))}px`;
  }

  #key(event) {
    const steps = { ArrowLeft: -5, ArrowRight: 5, ArrowDown: -5, ArrowUp: 5, PageDown: -60, PageUp: 60 };
    const { player } = this;
    if (!player.timeline) return;
    if (event.key in steps) player.seekBy(steps[event.key] * (event.shiftKey ? 6 : 1));
    else if (event.key === 'Home') player.seek(0);
    else if (event.key === 'End') player.goLive();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  update() {
    const { player } = this;
    setHidden(this.bar, !player.started);
    if (!player.started) return;
    const { from, to } = this.#span();
    const share = (position) => Math.min(1, Math.max(0, (position - from) / (to - from)));
    const live = player.follow && player.isLiveEvent && this.dragging === null;
    const position = this.dragging ?? player.position();
    const at = live ? 1 : share(position);
    $('scrub-played').style.width = `${at * 100}%`;
    $('scrub-knob').style.left = `${at * 100}%`;
    const end = player.screen.ranges.findLast(([a, b]) => a <= position + 0.1 && b > position)?.[1] ?? position;
    $('scrub-buffered').style.width = `${Math.max(at, share(end)) * 100}%`;
    setAttr(this.bar, 'aria-valuemin', Math.round(from));
    setAttr(this.bar, 'aria-valuemax', Math.round(to));
    setAttr(this.bar, 'aria-valuenow', Math.round(live ? to : position));
    const behind = to - position;
    const spokenText = live ? 'Live' : player.isLiveEvent ? `${spoken(behind)} behind live` : `${spoken(position)} of ${spoken(to)}`;
    setAttr(this.bar, 'aria-valuetext', spokenText);
    this.#marks(share, from, to);
  }

  #marks(share, from, to) {
    const { jumps, onScreen, notices, timeline } = this.player;
    const marks = [];
    for (const j of jumps.slice(-60)) marks.push(['gap', j.from, j.to]);
    for (const d of onScreen.defects.slice(-60)) marks.push(['defect', timeline.positionOf(d.number), timeline.positionOf(d.number + 1)]);
    for (const n of notices.current) marks.push(['notice', timeline.positionOf(n.from), n.to === null ? to : timeline.positionOf(n.to + 1)]);
    const inside = marks.filter(([, a, b]) => b > from && a < to);
    keep($('scrub-marks'), inside, ([kind, a]) => `${kind} ${a}`, ([kind]) => h('i', { class: `mark-${kind}` }), (el, [, a, b]) => {
      el.style.left = `${share(a) * 100}%`;
      el.style.width = `${(share(b) - share(a)) * 100}%`;
    });
  }
}
