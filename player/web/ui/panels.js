// The panels beside the picture: latency, pipelines, playback, delivery.

import { bits, clock, ms } from '../core/format.js';
import { cacheStatusOf, qualityIn, serverTimingOf } from '../core/headers.js';
import { $, h, keep, pipelineColour, remember, setAttr, setText } from './dom.js';
import { Spark } from './spark.js';

export class Panels {
  constructor(player) {
    this.player = player;
    this.spark = new Spark($('spark'), player);
    this.shown = null;
    const slider = $('target');
    slider.oninput = () => {
      player.setTarget(Number(slider.value));
      remember('target', Number(slider.value));
    };
    $('target-auto').onclick = () => {
      const auto = player.playhead.manualTarget === null;
      player.setTarget(auto ? Math.round(player.target * 10) / 10 : null);
      remember('target', player.playhead.manualTarget);
    };
  }

  update() {
    const { player } = this;
    this.#head();
    if (!player.timeline) return;
    this.#latency();
    this.#pipelines();
    this.#playback();
    this.#delivery();
  }

  #head() {
    const { player } = this;
    const c = $('clock');
    if (!c.firstChild) c.append('', h('small'));
    const text = `${clock(player.clock.now())} UTC`;
    if (c.firstChild.data !== text) c.firstChild.data = text;
    setText(c.lastChild, player.clock.synchronised ? `±${Math.max(1, Math.ceil(player.clock.errorMS))} ms` : 'not synchronised');
    const { tone, words } = player.health;
    setAttr(document.body, 'data-health', tone);
    setText($('connection'), words);
  }

  #latency() {
    const { player } = this;
    const measured = player.started && !['ended', 'gone'].includes(player.state);
    const live = measured && player.isLiveEvent;
    // What people read is smoothed over a few ticks, and steps twice a second.
    if (live) {
      const near = this.shown !== null && Math.abs(player.latency - this.shown) < 0.4;
      this.shown = near ? this.shown + (player.latency - this.shown) * 0.3 : player.latency;
    }
    const now = performance.now();
    if (now - (this.steppedAt ?? 0) > 400) {
      this.steppedAt = now;
      const far = this.shown >= 100;
      setText($('latency'), live ? this.shown.toFixed(far ? 0 : 2) : '–');
      const delta = live && player.follow ? player.latency - player.target : null;
      setText($('latency-delta'), delta === null ? '' : `${delta >= 0 ? '+' : '−'}${Math.abs(delta).toFixed(2)} s`);
      const tone = delta === null ? 'none' : Math.abs(delta) > 1.2 ? 'bad' : Math.abs(delta) > 0.5 ? 'warn' : 'good';
      setAttr($('latency').parentElement, 'data-tone', tone);
      const rate = player.video.playbackRate;
      const note = rate === 1 ? 'normal speed' : `${rate > 1 ? 'catching up' : 'easing off'} ×${rate.toFixed(3)}`;
      setText($('latency-note'), !live ? '' : player.follow ? note : 'not following live');
    }
    const slider = $('target');
    setAttr(slider, 'min', player.playhead.lowestTarget);
    if (document.activeElement !== slider || player.playhead.manualTarget === null) slider.value = player.target;
    slider.style.setProperty('--fill', `${((slider.value - slider.min) / (slider.max - slider.min)) * 100}%`);
    setText($('target-value'), `${player.target.toFixed(1)} s`);
    setAttr($('target-auto'), 'aria-pressed', player.playhead.manualTarget === null);
    this.spark.update(live ? player.latency : null);
  }

  #pipelines() {
    const { player } = this;
    const { onScreen, config } = player;
    const counts = this.#counts();
    const total = [...counts.values()].reduce((a, b) => a + b, 0);
    keep($('pipelines'), config.pipelines ?? [], (p) => p.name,
      (p) => {
        const li = h('li', { class: 'pipeline' }, h('b', { textContent: p.name }), h('span', { class: 'name' }), h('span', { class: 'share' }));
        li.style.setProperty('--c', pipelineColour(config, p.name));
        return li;
      },
      (el, p) => {
        const on = onScreen.pipeline === p.name;
        setAttr(el, 'data-on', on);
        setAttr(el, 'aria-label', `Pipeline ${p.name}${p.region ? `, ${p.region}` : ''}${on ? ', on screen' : ''}`);
        setText(el.children[1], p.region || `pipeline ${p.name}`);
        const share = total ? Math.round(((counts.get(p.name) ?? 0) / total) * 100) : 0;
        setText(el.children[2], on ? (player.stands ? 'stands' : 'on screen') : 'standby');
        el.style.setProperty('--share', `${share}%`);
        setAttr(el, 'title', `${share}% of the last segments`);
      });
    const n = onScreen.switches.length;
    const last = onScreen.switches.at(-1);
    setText($('air-note'), n === 0 ? 'no switches' : `${n} switch${n === 1 ? '' : 'es'}, last ${clock(last.at)}`);
  }

  // Of what was received lately, how much came from which pipeline.
  #counts() {
    const { player } = this;
    const counts = new Map();
    const at = player.onScreen.number ?? 0;
    for (const r of player.records.between('video', at - 150, at + 5)) {
      if (r.pipeline) counts.set(r.pipeline, (counts.get(r.pipeline) ?? 0) + 1);
    }
    return counts;
  }

  #playback() {
    const { player } = this;
    const { stalls } = player;
    const ahead = player.started ? player.bufferedAhead : 0;
    const refused = [...player.refusals.values()].reduce((a, b) => a + b, 0);
    const lost = player.health.words.endsWith('lost');
    const video = player.tracks.get('video');
    const shown = player.onScreen.record?.type === 'video' ? player.onScreen.record.rendition : player.catalogue.current.video;
    const rendition = player.started ? player.catalogue.of('video', shown) : null;
    const holding = player.tracks.size && [...player.tracks.values()].some((t) => t.heldNow?.state === 'asked');
    const tiles = [
      ['Stalls', stalls.count, stalls.count ? `${(stalls.totalMS / 1000).toFixed(1)} s` : 'none', stalls.stalled ? 'bad' : stalls.count ? 'warn' : 'good'],
      ['Lost', player.lost.size, player.lost.size ? `${player.jumps.reduce((s, j) => s + j.to - j.from, 0).toFixed(1)} s jumped` : 'none', lost ? 'bad' : player.lost.size ? 'warn' : 'good'],
      ['Defects', player.onScreen.defects.length, player.onScreen.defects.length ? `at ${clock(player.onScreen.defects.at(-1).at)}` : 'none', player.onScreen.defects.length ? 'warn' : 'good'],
      ['Refused', refused, refused ? [...player.refusals].map(([status, n]) => `${status} ×${n}`).join(' ') : 'none', refused ? 'warn' : 'good'],
      ['Errors', player.errorCount, player.errorCount ? `at ${clock(player.errors.at(-1).at)}` : 'none', player.trouble ? 'bad' : player.errorCount ? 'warn' : 'good'],
      ['Buffer', `${ahead.toFixed(1)} s`, 'ahead', ahead < 0.3 && player.state === 'playing' ? 'warn' : ''],
      ['Held', ms(video?.held.median), holding ? 'waiting now' : 'by the edge', ''],
      ['Throughput', bits(player.throughput.samples ? player.throughput.estimate : 0), 'measured', ''],
      this.#picture(rendition),
    ];
    keep($('tiles'), tiles, ([name]) => name,
      ([name]) => h('div', { class: 'tile' }, h('dt', { textContent: name }), h('dd', {}, '', h('small'))),
      (el, [, value, note, tone]) => {
        setAttr(el, 'data-tone', tone || 'none');
        const dd = el.lastChild;
        if (dd.childNodes.length !== 2) dd.replaceChildren(document.createTextNode(''), h('small'));
        const text = String(value);
        if (dd.firstChild.data !== text) dd.firstChild.data = text;
        setText(dd.lastChild, note);
      });
    setText($('health-note'), player.startedAt ? `since ${clock(player.startedAt)}` : '');
  }

  // What is on screen, and what who watched it says of it (Live-Quality).
  #picture(rendition) {
    const { player } = this;
    const sound = rendition ?? (player.started ? player.catalogue.of('audio', player.catalogue.current.audio) : null);
    const name = rendition ? 'Picture' : 'Sound';
    const value = rendition?.height ? `${rendition.height}p` : (sound?.name ?? '–');
    const verdict = qualityIn(player.onScreen.wrong);
    return [player.tracks.has('video') ? 'Picture' : name, value, verdict || (sound ? bits(sound.bandwidth) : ''), verdict ? 'warn' : ''];
  }

  #delivery() {
    const { player } = this;
    const headers = player.lastHeaders;
    const record = player.onScreen.record;
    const cache = record?.cache ?? (headers ? cacheStatusOf(headers) : null);
    const timing = headers ? serverTimingOf(headers) : [];
    const publication = player.tracks.get('video')?.publication.last ?? null;
    const toViewer = record?.publishedMS && record.arrivedMS && record.askedMS < record.publishedMS ? record.arrivedMS - record.publishedMS : null;
    const { droppedFrames: dropped, totalFrames } = player.screen;
    const digests = player.received.segments ? `${player.received.verified} of ${player.received.segments}` : '–';
    const facts = [
      ['Segment on screen', player.onScreen.number ?? '–'],
      ['Live edge', player.edgeNumber ?? '–'],
      ['Published after last frame', ms(publication)],
      ['Publication to here', ms(toViewer === null ? null : Math.max(0, toViewer))],
      ['Cache', cache ? `${cache.hit ? 'hit' : (cache.detail ?? 'miss')} · ${cache.cache}` : '–'],
      ['Server timing', timing.map((t) => `${t.name} ${ms(t.ms)}`).join(', ') || '–'],
      ['Digests verified', digests],
      ['Dropped frames', `${dropped} of ${totalFrames}`],
      ['Configuration', player.config?.version !== undefined ? `version ${player.config.version}` : '–'],
    ];
    keep($('facts'), facts, ([name]) => name,
      ([name]) => h('div', {}, h('dt', { textContent: name }), h('dd')),
      (el, [, value]) => {
        setText(el.lastChild, String(value));
        setAttr(el.lastChild, 'title', String(value));
      });
    setText($('delivery-note'), player.edge.replace(/^https?:\/\//, ''));
  }
}
