// The event's configuration, event.json, kept fresh: by the Live-Version header
// that every segment carries, by a look each minute (the observed lateness
// changes without a version), and, while no segment is flowing, by a request
// that the server holds until something changes. A held request all the time
// would cost one of the six connections that HTTP/1.1 browsers allow.

import { backoff } from '../core/segment.js';
import { sleep } from './track.js';

const LOOK_MS = 60_000;
const ANSWER_MS = 10_000;
const HELD_MS = 60_000;

export class Watcher {
  // changed(config) is called for every configuration that differs from the
  // one before; said(headers) for each answer; missing(status) when the event
  // is not there, failing(message) when nobody answers.
  constructor({ url, changed, said, missing, failing, idle }) {
    Object.assign(this, { url, changed, said, missing, failing, idle });
    this.config = null;
    this.etag = null;
    this.stopper = new AbortController();
    this.hurry = null;
  }

  stop() {
    this.stopper.abort();
  }

  // run looks for as long as the page lives.
  async run() {
    const { signal } = this.stopper;
    let failures = 0;
    while (!signal.aborted) {
      const held = this.config !== null && this.idle();
      const outcome = await this.#look(held, signal);
      if (signal.aborted) return;
      if (outcome === 'failed') {
        failures++;
        await sleep(backoff(failures), signal);
      } else if (outcome === 'missing') {
        await sleep(2000, signal);
      } else {
        failures = 0;
        // A server that does not hold must not be asked in a tight loop.
        await this.#rest(held ? 1000 : LOOK_MS, signal);
      }
    }
  }

  // saw takes a Live-Version: a higher one than ours is a reason to look.
  saw(version) {
    if (version !== null && this.config && version > (this.config.version ?? 0)) this.refresh();
  }

  // refresh looks at once, or as soon as the look under way is done.
  refresh() {
    this.hurry?.();
    this.hurried = true;
  }

  async #rest(ms, signal) {
    if (!this.hurried) {
      const woken = new AbortController();
      this.hurry = () => woken.abort();
      await sleep(ms, AbortSignal.any([signal, woken.signal]));
      this.hurry = null;
      // What asked for it may be one of many answers that say the same.
      if (this.hurried) await sleep(100, signal);
    }
    this.hurried = false;
  }

  async #look(held, signal) {
    const after = held && this.etag ? `?after=${encodeURIComponent(this.etag)}` : '';
    let response;
    let text;
    try {
      const limit = AbortSignal.any([signal, AbortSignal.timeout(after ? HELD_MS : ANSWER_MS)]);
      response = await fetch(this.url(`event.json${after}`), { signal: limit, cache: 'no-cache', credentials: 'omit' });
      text = await response.text();
    } catch (error) {
      if (after && error.name === 'TimeoutError') return 'same';
      this.failing(error.name === 'TimeoutError' ? 'no answer in time' : error.message);
      return 'failed';
    }
    this.said(response.headers);
    if (response.status === 304) return 'same';
    if (response.status === 404 || response.status === 410) {
      this.missing(response.status);
      return 'missing';
    }
    if (!response.ok) {
      this.failing(`status ${response.status}`);
      return 'failed';
    }
    let config;
    try {
      config = JSON.parse(text);
    } catch {
      this.failing('event.json is not JSON');
      return 'failed';
    }
    this.etag = response.headers.get('ETag');
    const before = JSON.stringify(this.config);
    this.config = config;
    if (JSON.stringify(config) !== before) this.changed(config);
    return 'changed';
  }
}

