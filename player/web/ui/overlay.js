// What is written on the picture: the state, notifications, what to wait for.

import { bits, clock, duration, renditionName, spoken } from '../core/format.js';
import { describe } from '../core/notices.js';
import { $, h, keep, pipelineColour, setAttr, setHidden, setText } from './dom.js';

// A wait shorter than this shows no spinner.
const PATIENCE_MS = 350;

export class Overlay {
  constructor(player) {
    this.player = player;
    this.waitingSince = null;
    this.switches = 0;
    $('card-action').onclick = () => player.play();
  }

  // flash shows a word in the middle of the picture for a moment.
  flash(text) {
    const el = $('flash');
    el.textContent = text;
    el.classList.add('on');
    clearTimeout(this.flashing);
    this.flashing = setTimeout(() => el.classList.remove('on'), 650);
  }

  update() {
    this.#chip();
    this.#lamp();
    this.#notices();
    this.#card();
    this.#spinner();
    this.#audioOnly();
    const { player } = this;
    setHidden($('big-play'), !(player.started && (player.blocked || player.state === 'paused') && player.state !== 'ended'));
  }

  #chip() {
    const { player } = this;
    const live = player.follow && player.isLiveEvent && !player.stands;
    const words = { playing: player.stands ? 'No picture' : live ? 'Live' : 'Replay', paused: 'Paused', ended: 'Ended', waiting: 'Soon', gone: 'Over' };
    setText($('chip-live-text'), words[player.state] ?? 'Connecting');
    setAttr($('chip-live'), 'data-live', live);
  }

  #lamp() {
    const { player } = this;
    const { pipeline, region, switches } = player.onScreen;
    setHidden($('lamp'), !pipeline);
    if (!pipeline) return;
    setText($('lamp-name'), pipeline);
    setText($('lamp-region'), region);
    const colour = pipelineColour(player.config, pipeline);
    if (colour !== this.colour) {
      this.colour = colour;
      $('stage').style.setProperty('--air', colour);
    }
    if (switches.length > this.switches) {
      this.switches = switches.length;
      const stage = $('stage');
      stage.classList.remove('switched');
      // Reading a layout property lets the animation begin anew.
      void stage.offsetWidth;
      stage.classList.add('switched');
    }
  }

  #notices() {
    const { player } = this;
    const list = player.started ? player.notices.active(player.timeline.numberAt(player.position())) : [];
    keep($('notices'), list, (n) => `${n.type} ${n.id}`,
      () => h('li', { class: 'notice' }, h('b'), h('span'), h('time')),
      (el, n) => {
        const [name, text, left] = el.children;
        setText(name, n.type.replaceAll('-', ' '));
        setText(text, describe(n) || n.id);
        const rest = n.to === null ? '' : duration(player.timeline.positionOf(n.to + 1) - player.position());
        setText(left, rest);
      });
  }

  #card() {
    const { player } = this;
    const card = this.#cardOf(player);
    setHidden($('card'), card === null);
    if (!card) return;
    setText($('card-kicker'), card.kicker);
    setText($('card-title'), card.title);
    setText($('card-text'), card.text ?? '');
    setHidden($('countdown'), !card.countdown);
    setText($('countdown'), card.countdown ?? '');
    setAttr($('countdown'), 'aria-label', card.spoken ?? null);
    setHidden($('card-action'), !card.action);
    setText($('card-action'), card.action ?? '');
  }

  #cardOf(player) {
    const { state, timeline } = player;
    if (state === 'missing') return { kicker: 'No such event', title: player.event, text: `${player.detail} Looking again every two seconds.` };
    if (state === 'failed') return { kicker: 'Cannot play', title: 'This event cannot be played here', text: player.detail };
    if (state === 'gone') return { kicker: 'Over', title: 'This event has ended', text: 'Its recording is no longer available.' };
    if (state === 'ended') return { kicker: 'Thank you for watching', title: 'This event has ended', text: 'The recording stays for a while.', action: 'Watch from the start' };
    if (state === 'connecting' && player.detail) return { kicker: 'Connecting', title: 'Waiting for the edge', text: `${player.detail} Trying again.` };
    if (state === 'waiting') {
      const seconds = Math.max(0, Math.ceil((timeline.originMS - player.clock.now()) / 1000));
      const day = new Date(timeline.originMS).toISOString().slice(0, 10);
      const days = Math.floor(seconds / 86_400);
      return {
        kicker: 'Begins in',
        title: '',
        countdown: days >= 2 ? `${days} days` : duration(seconds),
        spoken: spoken(Math.ceil(seconds / 10) * 10),
        text: `${day} ${clock(timeline.originMS)} UTC`,
      };
    }
    return null;
  }

  // An event without a picture shows that there is sound, and which.
  #audioOnly() {
    const { player } = this;
    const only = player.started && player.tracks.size > 0 && !player.tracks.has('video') && player.state !== 'ended';
    setHidden($('audio-only'), !only);
    if (!only) return;
    setAttr($('audio-only'), 'data-moving', player.state === 'playing' && !player.stands && !player.blocked);
    const r = player.catalogue.of('audio', player.onScreen.record?.rendition ?? player.catalogue.current.audio);
    setText($('audio-only-text'), r ? `${renditionName(r)} · ${bits(r.bandwidth)}` : '');
  }

  #spinner() {
    const { player } = this;
    const now = performance.now();
    const waits = player.state === 'starting' || (player.state === 'connecting' && !player.detail)
      || (player.state === 'playing' && (player.stalls.stalled || player.playhead.excused !== null || player.playhead.pending || player.video.seeking));
    if (!waits) this.waitingSince = null;
    else this.waitingSince ??= now;
    const shown = waits && now - this.waitingSince > (player.stalls.stalled || !player.started ? 0 : PATIENCE_MS);
    setHidden($('spinner'), !shown);
    if (!shown) return;
    let text = '';
    if (player.trouble) text = 'Connection lost. Trying again…';
    else if (player.stands) text = waitingFor(player);
    setText($('spinner-text'), text);
  }
}

// What is waited for where the picture stands.
function waitingFor(player) {
  const n = player.timeline.numberAt(player.position() + player.bufferedAhead + 0.05);
  let next = n;
  while (player.lost.has(next)) next++;
  if (next === n) return `Waiting for segment ${n}`;
  return `${next - n === 1 ? `Segment ${n} is` : `Segments ${n} to ${next - 1} are`} lost. Waiting for ${next}`;
}
