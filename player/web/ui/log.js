// The event log, newest first, by kind.

import { clock } from '../core/format.js';
import { $, h, setAttr } from './dom.js';

const KEEP = 200;
const FILTERS = [
  ['All', null],
  ['Switches', ['switch']],
  ['Media', ['gap', 'defect', 'stall', 'quality']],
  ['Notices', ['notice']],
  ['System', ['network', 'event', 'live', 'fault']],
];

export class Log {
  constructor(journal) {
    this.journal = journal;
    this.list = $('log');
    this.kinds = null;
    this.buttons = FILTERS.map(([name, kinds]) => h('button', { type: 'button', textContent: name, onclick: () => this.#filter(kinds) }));
    $('filters').append(...this.buttons);
    journal.listeners.add((entry) => this.#add(entry));
    this.#filter(null);
  }

  #filter(kinds) {
    this.kinds = kinds;
    FILTERS.forEach(([, k], i) => setAttr(this.buttons[i], 'aria-pressed', k === kinds));
    this.list.replaceChildren();
    this.#none();
    for (const entry of this.journal.entries) this.#add(entry);
  }

  #none() {
    this.list.append(h('li', { class: 'none', textContent: 'Nothing yet.' }));
  }

  #add(entry) {
    if (this.kinds && !this.kinds.includes(entry.kind)) return;
    this.list.querySelector('.none')?.remove();
    const item = h('li', { data: { kind: entry.kind, level: entry.level } }, h('time', { textContent: clock(entry.at) }), h('i'), h('span', { textContent: entry.text }));
    this.list.prepend(item);
    while (this.list.children.length > KEEP) this.list.lastChild.remove();
  }
}
