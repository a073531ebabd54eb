// The row of controls on the picture.

import { clock, duration, renditionName } from '../core/format.js';
import { $, h, recall, remember, setAttr, setHidden, setIcon, setText } from './dom.js';

const HIDE_MS = 2800;

export class Controls {
  constructor(player, flash) {
    this.player = player;
    this.flash = flash;
    this.stage = $('stage');
    this.video = player.video;
    this.shownUntil = performance.now() + HIDE_MS;
    this.video.volume = recall('volume', 1);
    $('volume').value = this.video.volume;

    $('play').onclick = () => this.toggle();
    $('big-play').onclick = () => player.play();
    $('back').onclick = () => this.skip(-10);
    $('forward').onclick = () => this.skip(10);
    $('live').onclick = () => this.goLive();
    $('mute').onclick = () => this.toggleMute();
    $('unmute').onclick = () => this.toggleMute();
    $('full').onclick = () => this.toggleFull();
    $('volume').oninput = (e) => this.setVolume(Number(e.target.value));
    $('quality').onchange = (e) => this.choose('video', e.target.value);
    $('audio').onchange = (e) => this.choose('audio', e.target.value);
    $('subtitles').onchange = (e) => this.showSubtitles(e.target.value);
    this.#autohide();
    this.#surface();
  }

  showSubtitles(name) {
    this.player.subtitles.choose(name || null);
    this.#menus(true);
  }

  // The first that there are, or none.
  toggleSubtitles() {
    const { subtitles } = this.player;
    const name = subtitles.name === null ? (this.shownBefore ?? subtitles.choices[0]?.name ?? '') : '';
    if (subtitles.name !== null) this.shownBefore = subtitles.name;
    this.showSubtitles(name);
    this.flash(name ? 'Subtitles' : 'No subtitles');
    this.wake();
  }

  // A click on the picture plays or pauses, two go full screen. By touch the
  // first one only shows the controls.
  #surface() {
    let touch = false;
    let hidden = false;
    this.stage.addEventListener('pointerdown', (e) => {
      touch = e.pointerType === 'touch';
      hidden = this.stage.dataset.controls === 'hidden';
    }, true);
    this.video.addEventListener('click', () => {
      if (touch) {
        this.shownUntil = hidden ? performance.now() + HIDE_MS : 0;
        return;
      }
      this.toggle();
    });
    this.video.addEventListener('dblclick', () => !touch && this.toggleFull());
  }

  #autohide() {
    const wake = () => (this.shownUntil = performance.now() + HIDE_MS);
    for (const type of ['pointermove', 'focusin', 'keydown']) this.stage.addEventListener(type, wake);
    this.stage.addEventListener('pointerleave', (e) => {
      if (e.pointerType === 'mouse') this.shownUntil = Math.min(this.shownUntil, performance.now() + 600);
    });
  }

  wake() {
    this.shownUntil = performance.now() + HIDE_MS;
  }

  toggle() {
    this.player.toggle();
    this.wake();
  }

  skip(seconds) {
    this.player.seekBy(seconds);
    this.flash(`${seconds > 0 ? '+' : '−'}${Math.abs(seconds)} s`);
    this.wake();
  }

  goLive() {
    this.player.goLive();
    this.flash('Live');
    this.wake();
  }

  toggleMute() {
    this.video.muted = !this.video.muted;
    if (!this.video.muted && this.video.volume === 0) this.setVolume(0.6);
    this.flash(this.video.muted ? 'Muted' : 'Sound on');
    this.wake();
  }

  setVolume(value) {
    this.video.volume = Math.min(1, Math.max(0, value));
    this.video.muted = this.video.volume === 0;
    $('volume').value = this.video.volume;
    remember('volume', this.video.volume);
    this.wake();
  }

  toggleFull() {
    if (document.fullscreenElement) document.exitFullscreen();
    else if (this.stage.requestFullscreen) this.stage.requestFullscreen().catch(() => {});
    else this.video.webkitEnterFullscreen?.();
  }

  choose(type, name) {
    this.player.setRendition(type, name === '' ? null : name);
    this.#menus(true);
  }

  update() {
    const { player, video } = this;
    const playing = player.wantPlay && !player.blocked && player.state !== 'ended';
    setIcon($('play'), playing ? 'pause' : 'play');
    setAttr($('play'), 'aria-label', playing ? 'Pause' : 'Play');
    setIcon($('mute'), video.muted ? 'muted' : 'sound');
    setAttr($('mute'), 'aria-label', video.muted ? 'Unmute' : 'Mute');
    const level = video.muted ? 0 : video.volume;
    $('volume').style.setProperty('--fill', `${level * 100}%`);
    const full = document.fullscreenElement === this.stage;
    setIcon($('full'), full ? 'window' : 'full');
    setAttr($('full'), 'aria-label', full ? 'Leave full screen' : 'Full screen');
    setHidden($('unmute'), !(player.started && video.muted && playing));
    const busy = !playing || player.stalls.stalled || this.stage.querySelector('.dragging');
    const shown = !player.started || busy || performance.now() < this.shownUntil;
    setAttr(this.stage, 'data-controls', shown ? 'shown' : 'hidden');
    this.#live();
    this.#menus(false);
  }

  #live() {
    const { player } = this;
    const live = player.follow && player.isLiveEvent && player.state === 'playing';
    setAttr(this.stage, 'data-live', live);
    setAttr($('live'), 'aria-pressed', live);
    setAttr($('live'), 'aria-label', live ? 'Live' : 'Go to live');
    $('live').disabled = !player.isLiveEvent;
    if (!player.timeline) return;
    const instant = clock(player.timeline.instantOf(player.position()));
    const behind = player.latency;
    if (!player.started) setText($('time'), '');
    else if (live) this.#time(instant, 'UTC');
    else if (player.isLiveEvent) this.#time(`−${duration(behind)}`, `${instant} UTC`);
    else this.#time(`${duration(player.position())} / ${duration(player.timeline.endPosition)}`, `${instant} UTC`);
  }

  #time(text, small) {
    const p = $('time');
    if (!p.firstChild) p.append('', h('small'));
    if (p.childNodes.length !== 2) p.replaceChildren(document.createTextNode(''), h('small'));
    if (p.firstChild.data !== text) p.firstChild.data = text;
    setText(p.lastChild, small);
  }

  #menus(force) {
    const { catalogue } = this.player;
    const current = catalogue.of('video', catalogue.current.video);
    const auto = current ? `Auto ${renditionName(current)}` : 'Auto';
    this.#menu($('quality'), 'video', auto, force);
    setHidden($('quality-pick'), catalogue.byType.video.length === 0);
    setHidden($('audio-pick'), catalogue.byType.audio.length < 2);
    this.#menu($('audio'), 'audio', null, force);
    this.#subtitles(force);
  }

  #subtitles(force) {
    const { subtitles } = this.player;
    const { choices } = subtitles;
    setHidden($('subtitles-pick'), choices.length === 0);
    const shown = choices.some((r) => r.name === subtitles.name) ? subtitles.name : '';
    this.#fill($('subtitles'), 'subtitles', [['', 'No subtitles'], ...choices.map((r) => [r.name, renditionName(r)])], shown, force);
  }

  #menu(select, type, auto, force) {
    const { catalogue } = this.player;
    const list = [...catalogue.byType[type]].reverse();
    const options = list.map((r) => [r.name, type === 'video' ? `${renditionName(r)} · ${(r.bandwidth / 1e6).toFixed(1)} Mb/s` : renditionName(r)]);
    if (auto !== null) options.unshift(['', auto]);
    const value = catalogue.manual[type] ?? (auto !== null ? '' : catalogue.current[type] ?? '');
    this.#fill(select, type, options, value, force);
  }

  #fill(select, type, options, value, force) {
    const key = JSON.stringify([options, value]);
    if (!force && this[`${type}Key`] === key) return;
    this[`${type}Key`] = key;
    select.replaceChildren(...options.map(([v, text]) => h('option', { value: v, textContent: text })));
    select.value = value;
  }
}
