// What happened, for people: a bounded log, newest last.
//
// kind is one of live, switch, defect, gap, stall, notice, quality, network,
// event, fault. level is info, good, warn or bad.

const KEEP = 400;

export class Journal {
  // now() is server time in milliseconds.
  constructor(now) {
    this.now = now;
    this.entries = [];
    this.listeners = new Set();
    this.next = 1;
  }

  add(kind, level, text) {
    const entry = { id: this.next++, at: this.now(), kind, level, text };
    this.entries.push(entry);
    if (this.entries.length > KEEP) this.entries.shift();
    for (const listener of this.listeners) listener(entry);
    return entry;
  }
}
