// "Break things": the demo's faults, as buttons. Only there when the page's own
// server is a demo.

import { $, h, keep, setAttr, setHidden, setText } from './dom.js';

const STATE = '/-/demo/state';
const POLL_MS = 1000;
// What is bad where it is not 0.
const BAD = ['without picture', 'gaps', 'refusals', 'defective served', 'stalls', 'errors'];

// demoState asks once whether this server is a demo; null if it is not.
export async function demoState() {
  try {
    const response = await fetch(STATE, { cache: 'no-store', signal: AbortSignal.timeout(3000) });
    if (!response.ok || !(response.headers.get('Content-Type') ?? '').includes('json')) return null;
    return await response.json();
  } catch {
    return null;
  }
}

export class Faults {
  constructor(journal, state) {
    this.journal = journal;
    this.state = state;
    this.pending = new Set();
    this.timer = setInterval(() => this.#poll(), POLL_MS);
    document.addEventListener('visibilitychange', () => this.#poll());
    this.#render();
  }

  get keys() {
    return (this.state.faults ?? []).filter((f) => f.key).map((f) => [f.key, f.label]);
  }

  // byKey toggles the fault of a key; false if there is none.
  byKey(key) {
    const fault = (this.state.faults ?? []).find((f) => f.key === key);
    if (fault) this.#toggle(fault.id);
    return Boolean(fault);
  }

  async #poll() {
    if (document.hidden || this.polling) return;
    this.polling = true;
    const state = await demoState();
    this.polling = false;
    if (!state) return;
    this.state = state;
    this.#render();
  }

  async #toggle(id) {
    const fault = this.state.faults.find((f) => f.id === id);
    if (!fault || this.pending.has(id)) return;
    const active = !fault.active;
    this.pending.add(id);
    this.#render();
    try {
      const response = await fetch(`/-/demo/faults/${encodeURIComponent(id)}`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify({ active }),
        signal: AbortSignal.timeout(5000),
      });
      if (!response.ok) throw new Error(`status ${response.status}`);
      fault.active = active;
      this.journal.add('fault', active ? 'warn' : 'good', `${fault.label}: ${active ? 'on' : 'off'}`);
    } catch (error) {
      this.journal.add('fault', 'bad', `${fault.label}: could not be set (${error.message})`);
    } finally {
      this.pending.delete(id);
      this.#render();
    }
    this.#poll();
  }

  #render() {
    const faults = this.state.faults ?? [];
    setHidden($('faults-panel'), faults.length === 0);
    keep($('faults'), faults, (f) => f.id,
      (f) => {
        const button = h('button', { type: 'button', class: 'fault', onclick: () => this.#toggle(f.id) });
        if (f.key) button.append(h('kbd', { textContent: f.key }));
        button.append(h('span'), h('i'));
        if (f.key) button.setAttribute('aria-keyshortcuts', f.key);
        return button;
      },
      (el, f) => {
        setText(el.querySelector('span'), f.label);
        setAttr(el, 'aria-pressed', Boolean(f.active));
        setAttr(el, 'aria-busy', this.pending.has(f.id));
      });
    keep($('summary'), flatten(this.state.summary), ([name]) => name,
      ([name]) => h('div', {}, h('dt', { textContent: name }), h('dd')),
      (el, [name, value]) => {
        setText(el.lastChild, value);
        setAttr(el, 'data-tone', BAD.includes(name) && value !== '0' ? 'bad' : null);
      });
  }
}

// The summary's numbers, one level deep, with names for people; percentiles
// and counts by name are joined, empty lists left out.
export function flatten(summary) {
  const rows = [];
  for (const [key, value] of Object.entries(summary ?? {})) {
    const name = key.replace(/_ms$/, '').replaceAll('_', ' ');
    const unit = key.endsWith('_ms') ? ' ms' : '';
    if (typeof value === 'number') rows.push([name, number(value) + unit]);
    else if (Array.isArray(value)) {
      if (value.length) rows.push([name, String(value.length)]);
    } else if (value && typeof value === 'object') {
      const inner = Object.entries(value).filter(([k, v]) => typeof v === 'number' && k !== 'count');
      if (inner.length) rows.push([name, inner.map(([k, v]) => `${k} ${number(v)}`).join(' · ') + unit]);
    } else if (typeof value === 'string') rows.push([name, value]);
  }
  return rows;
}

function number(n) {
  return Number.isInteger(n) ? String(n) : n.toFixed(Math.abs(n) < 10 ? 2 : 1);
}
