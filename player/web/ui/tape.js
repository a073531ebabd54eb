// The tape: the segments around the playhead as they come, are held for, and
// pass under the playhead. Time runs to the right at the speed of the camera.

import { ms } from '../core/format.js';
import { $, h, keep, pipelineColour, reducedMotion, setAttr, setText } from './dom.js';
import { describeDefects } from '../media/onscreen.js';

// Numbers that count since 1970 have nine digits, of which the last few tell
// neighbours apart.
function shortNumber(number, digits) {
  const text = String(number);
  if (digits === 2) return text.slice(-2);
  return text.length <= 5 ? text : `…${text.slice(-digits)}`;
}

// Coordinates are kept small: far from zero, style values lose precision.
const REBASE_PX = 20_000;

export class Tape {
  constructor(player) {
    this.player = player;
    this.box = $('tape');
    this.strip = h('div', { class: 'tape-strip' });
    this.playhead = h('div', { class: 'tape-line', data: { label: 'on screen' }, hidden: true });
    this.camera = h('div', { class: 'tape-line camera', data: { label: 'camera now' }, hidden: true });
    this.box.append(this.strip, this.playhead, this.camera);
    this.base = null;
    this.cells = new Map();
    // Every other frame: it moves by less than a pixel in one.
    let odd = false;
    const frame = () => {
      odd = !odd;
      if (odd) this.#slide();
      requestAnimationFrame(frame);
    };
    // A person who wants less motion gets steps, with update.
    if (!reducedMotion()) frame();
  }

  // The seconds that fit, and where the right end is.
  #view() {
    const { player } = this;
    const width = this.box.clientWidth;
    const segment = player.timeline.segment;
    const span = Math.max(8 * segment, Math.min(width / 34, 18 * segment));
    const now = player.timeline.positionAt(player.clock.now());
    const at = player.position();
    const near = now - at < span * 0.7;
    const right = near ? now + span * 0.07 : at + span * 0.45;
    return { width, scale: width / span, left: right - span, right, now, at };
  }

  #slide() {
    if (!this.player.timeline || !this.player.started || document.hidden) return;
    const v = this.#view();
    if (!v.width) return;
    if (this.scale !== v.scale || this.base === null || Math.abs((v.left - this.base) * v.scale) > REBASE_PX) {
      this.scale = v.scale;
      this.base = v.left;
      for (const cell of this.cells.values()) this.#put(cell);
    }
    this.strip.style.transform = `translateX(${((this.base - v.left) * v.scale).toFixed(2)}px)`;
    const x = (position) => (position - v.left) * v.scale;
    this.playhead.hidden = false;
    this.playhead.style.transform = `translateX(${x(v.at).toFixed(1)}px)`;
    this.camera.style.transform = `translateX(${x(v.now).toFixed(1)}px)`;
    this.camera.hidden = v.now > v.right || !this.player.isLiveEvent;
    this.camera.classList.toggle('left', x(v.now) > v.width - 84);
    // The labels stand on either side of the live latency.
    this.playhead.classList.toggle('left', x(v.at) > 84);
  }

  #put(cell) {
    const { timeline } = this.player;
    cell.el.style.left = `${(timeline.positionOf(cell.number) - this.base) * this.scale}px`;
    cell.el.style.width = `${Math.max(2, timeline.segment * this.scale - 3)}px`;
    cell.el.classList.toggle('narrow', timeline.segment * this.scale < 46);
  }

  update() {
    const { player } = this;
    this.#legend();
    if (!player.timeline || !player.started || !this.box.clientWidth) return;
    this.#slide();
    const v = this.#view();
    const { timeline } = player;
    const from = Math.max(timeline.first, timeline.numberAt(v.left) - 1);
    const ends = [timeline.numberAt(v.right) + 1, timeline.last ?? Infinity];
    const to = Math.min(...ends);
    const wanted = new Set();
    for (const type of player.tracks.keys()) {
      for (let n = from; n <= to; n++) {
        const key = `${type} ${n}`;
        wanted.add(key);
        let cell = this.cells.get(key);
        if (!cell) {
          cell = { type, number: n, el: h('div', {}, '', h('small')) };
          this.cells.set(key, cell);
          this.#put(cell);
          this.strip.append(cell.el);
        }
        this.#paint(cell);
      }
    }
    for (const [key, cell] of this.cells) {
      if (wanted.has(key)) continue;
      cell.el.remove();
      this.cells.delete(key);
    }
    const on = player.onScreen;
    const text = on.number === null ? 'Segments' : `Segment ${on.number} on screen${on.pipeline ? `, pipeline ${on.pipeline}` : ''}; newest published ${player.edgeNumber ?? 'unknown'}`;
    setAttr(this.box, 'aria-label', text);
  }

  #paint(cell) {
    const { player } = this;
    const record = player.records.get(cell.type, cell.number);
    const kind = this.#kindOf(record);
    const onscreen = player.timeline.numberAt(player.position() + 0.02) === cell.number && kind !== 'coming' && kind !== 'held';
    const name = `cell ${cell.type} ${kind}${onscreen ? ' onscreen' : ''}`;
    const narrow = cell.el.classList.contains('narrow') ? ' narrow' : '';
    if (cell.name !== name) {
      cell.name = name;
      cell.el.className = name + narrow;
    }
    const label = shortNumber(cell.number, narrow ? 2 : 4);
    if (cell.label !== label) {
      cell.label = label;
      cell.el.firstChild.data = label;
    }
    const colour = record?.pipeline ? pipelineColour(player.config, record.pipeline) : 'var(--faint)';
    if (cell.colour !== colour) {
      cell.colour = colour;
      cell.el.style.setProperty('--c', colour);
    }
    setText(cell.el.lastChild, this.#note(record, kind));
    const title = this.#title(cell, record, kind);
    if (cell.title !== title) {
      cell.title = title;
      cell.el.title = title;
    }
  }

  #kindOf(record) {
    if (!record) return 'coming';
    if (record.state === 'asked' || record.state === 'receiving') return 'held';
    if (record.state === 'lost' || record.state === 'broken') return 'lost';
    if (record.state === 'skipped') return 'coming';
    return record.defects.length ? 'defect' : 'got';
  }

  #note(record, kind) {
    if (kind === 'held') return record.state === 'asked' ? 'held' : '…';
    if (kind === 'lost') return 'lost';
    if (kind === 'defect') return record.defects[0].kind;
    if (kind === 'got') return record.rendition;
    return '';
  }

  #title(cell, record, kind) {
    const parts = [`${cell.number} ${cell.type}`];
    if (!record || kind === 'coming') return `${parts[0]}: not asked for`;
    if (kind === 'held') return `${parts[0]}: asked for, held by the edge`;
    if (kind === 'lost') return `${parts[0]}: lost`;
    parts.push(record.rendition, `pipeline ${record.pipeline || 'unknown'}${record.region ? ` ${record.region}` : ''}`);
    parts.push(`held ${ms(record.heldMS)}, downloaded in ${ms(record.downloadMS)}`, `${Math.round(record.bytes / 1024)} KiB`);
    if (record.verified) parts.push('digest verified');
    if (record.defects.length) parts.push(describeDefects(record.defects) + (record.bridgedMS ? `, ${ms(record.bridgedMS)} bridged` : ''));
    return parts.join('\n');
  }

  #legend() {
    const { player } = this;
    const pipelines = (player.config?.pipelines ?? []).map((p) => [`pipeline ${p.name}`, pipelineColour(player.config, p.name)]);
    const entries = [...pipelines, ['held', 'var(--accent)'], ['defect', 'var(--warn)'], ['lost', 'var(--bad)']];
    keep($('legend'), entries, ([name]) => name, ([name, colour]) => {
      const swatch = h('i');
      swatch.style.setProperty('--c', colour);
      return h('span', {}, swatch, name);
    });
  }
}
