// The keyboard.

import { $, h } from './dom.js';

const HELP = [
  ['Play or pause', ['Space', 'K']],
  ['Back, forward 5 s', ['←', '→']],
  ['Back, forward 30 s', ['⇧ ←', '⇧ →']],
  ['Back 10 s', ['J']],
  ['Go to live', ['L', 'End']],
  ['Oldest moment', ['Home']],
  ['Volume', ['↑', '↓']],
  ['Mute', ['M']],
  ['Subtitles', ['C']],
  ['Full screen', ['F']],
  ['This help', ['?']],
];

export class Keys {
  constructor(player, controls, faults) {
    Object.assign(this, { player, controls, faults });
    document.addEventListener('keydown', (e) => this.#down(e));
    $('help-button').onclick = () => this.help();
    $('help').addEventListener('click', (e) => {
      if (e.target === $('help')) $('help').close();
    });
    const rows = [...HELP];
    for (const [key, label] of faults?.keys ?? []) rows.push([label, [key]]);
    $('keys').append(...rows.map(([what, keys]) => h('div', {}, h('dt', { textContent: what }), h('dd', {}, ...keys.map((k) => h('kbd', { textContent: k }))))));
  }

  help() {
    if ($('help').open) $('help').close();
    else $('help').showModal();
  }

  #down(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if ($('help').open && event.key !== '?') return;
    const target = event.target;
    // Fields and menus have keys of their own; buttons have space and enter,
    // ranges and the log the arrows.
    if (target.matches('input:not([type="range"]), select, textarea')) return;
    const arrows = target.matches('input[type="range"], [role="slider"], [role="log"]');
    if (arrows && /^(Arrow|Home|End|Page)/.test(event.key)) return;
    if (target.matches('button, a[href]') && (event.key === ' ' || event.key === 'Enter')) return;
    if (this.#act(event)) {
      event.preventDefault();
      this.controls.wake();
    }
  }

  #act(event) {
    const { player, controls } = this;
    const step = event.shiftKey ? 30 : 5;
    switch (event.key) {
      case ' ':
      case 'k':
      case 'K':
        if (!event.repeat) controls.toggle();
        return true;
      case 'ArrowLeft':
        controls.skip(-step);
        return true;
      case 'ArrowRight':
        controls.skip(step);
        return true;
      case 'ArrowUp':
        controls.setVolume(player.video.volume + 0.1);
        return true;
      case 'ArrowDown':
        controls.setVolume(player.video.volume - 0.1);
        return true;
      case 'j':
      case 'J':
        controls.skip(-10);
        return true;
      case 'l':
      case 'L':
      case 'End':
        controls.goLive();
        return true;
      case 'Home':
        player.seek(0);
        return true;
      case 'm':
      case 'M':
        controls.toggleMute();
        return true;
      case 'c':
      case 'C':
        controls.toggleSubtitles();
        return true;
      case 'f':
      case 'F':
        controls.toggleFull();
        return true;
      case '?':
        this.help();
        return true;
      default:
        return !event.repeat && Boolean(this.faults?.byKey(event.key));
    }
  }
}
