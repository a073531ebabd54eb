// One SourceBuffer behind a queue. A SourceBuffer does one thing at a time and
// throws if asked for another: every operation waits for the one before it.

// What stays behind the playhead, in seconds, and to what it is cut when the
// browser has no more room.
const KEEP_BEHIND = 30;
const TIGHT_BEHIND = [10, 3];
const TIGHT_AHEAD = 20;
// How far outside of its slot a segment's media may lie, in seconds. A wrong
// decode time must not overwrite the neighbours, but composition offsets and
// audio frames do reach over a boundary.
const OVERHANG = 0.3;

// The page lost its MediaSource: start over with a new one.
export class Closed extends Error {}

export class Sink {
  // playhead() is the media element's current time.
  constructor({ mediaSource, type, codecs, timestampOffset, playhead }) {
    this.mediaSource = mediaSource;
    this.type = type;
    this.mime = mimeOf(type, codecs);
    this.playhead = playhead;
    this.init = null;
    this.tail = Promise.resolve();
    this.buffer = mediaSource.addSourceBuffer(this.mime);
    this.buffer.timestampOffset = timestampOffset;
  }

  // [[from, to], ...] in seconds; empty once the MediaSource is closed.
  get ranges() {
    try {
      const b = this.buffer.buffered;
      return Array.from({ length: b.length }, (_, i) => [b.start(i), b.end(i)]);
    } catch {
      return [];
    }
  }

  // append adds a segment's bytes, after its rendition's init segment ({bytes,
  // codecs}) where that is not the one in use. slot is {from, to} in seconds.
  // Rejects with QuotaExceededError when nothing more can be evicted.
  append(init, bytes, slot) {
    return this.#queue(async () => {
      if (this.init !== init) await this.#changeInit(init);
      this.#window(slot);
      await this.#appendWithRoom(bytes);
    });
  }

  remove(from, to) {
    return this.#queue(() => this.#remove(from, to));
  }

  // trim drops what is far from the playhead.
  trim(keepAhead) {
    const at = this.playhead();
    const ranges = this.ranges;
    if (ranges.some(([from]) => from < at - KEEP_BEHIND - 5)) this.remove(0, at - KEEP_BEHIND).catch(() => {});
    if (ranges.some(([, to]) => to > at + keepAhead + 5)) this.remove(at + keepAhead, Infinity).catch(() => {});
  }

  // idle resolves when everything asked for so far is done.
  idle() {
    return this.tail;
  }

  #queue(operation) {
    const result = this.tail.then(operation);
    this.tail = result.catch(() => {});
    return result;
  }

  async #changeInit(init) {
    const mime = mimeOf(this.type, init.codecs);
    if (mime !== this.mime) {
      this.#open();
      this.buffer.changeType(mime);
      this.mime = mime;
    }
    await this.#append(init.bytes);
    this.init = init;
  }

  #window(slot) {
    this.#open();
    const from = Math.max(0, slot.from - OVERHANG);
    // The order keeps start below end at every step.
    this.buffer.appendWindowStart = 0;
    this.buffer.appendWindowEnd = slot.to + OVERHANG;
    this.buffer.appendWindowStart = from;
  }

  async #appendWithRoom(bytes) {
    for (const behind of [...TIGHT_BEHIND, null]) {
      try {
        await this.#append(bytes);
        return;
      } catch (error) {
        if (error.name !== 'QuotaExceededError' || behind === null) throw error;
        const at = this.playhead();
        if (at - behind > 0) await this.#remove(0, at - behind);
        if (behind === TIGHT_BEHIND.at(-1)) await this.#remove(at + TIGHT_AHEAD, Infinity);
      }
    }
  }

  #append(bytes) {
    return this.#operate(() => this.buffer.appendBuffer(bytes));
  }

  #remove(from, to) {
    if (!(to > from)) return Promise.resolve();
    return this.#operate(() => this.buffer.remove(from, to));
  }

  #open() {
    if (this.mediaSource.readyState === 'closed' || ![...this.mediaSource.sourceBuffers].includes(this.buffer)) {
      throw new Closed('the MediaSource is closed');
    }
  }

  // Starts an operation and waits for it. An error event says that the bytes
  // were not playable; the media element then has an error of its own.
  #operate(start) {
    this.#open();
    return new Promise((resolve, reject) => {
      const done = () => finish(resolve);
      const failed = () => finish(() => reject(new Error('the browser could not read the segment')));
      const finish = (then) => {
        this.buffer.removeEventListener('updateend', done);
        this.buffer.removeEventListener('error', failed);
        this.buffer.removeEventListener('abort', failed);
        then();
      };
      this.buffer.addEventListener('updateend', done);
      this.buffer.addEventListener('error', failed);
      this.buffer.addEventListener('abort', failed);
      try {
        start();
      } catch (error) {
        finish(() => reject(error));
      }
    });
  }
}

export function mimeOf(type, codecs) {
  return `${type}/mp4; codecs="${codecs}"`;
}
