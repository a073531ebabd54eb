// What is known of each segment that was asked for, by track type and number:
//
//   {type, number, rendition, state, askedMS, firstMS, heldMS, downloadMS,
//    bytes, pipeline, region, defects, cache, publishedMS, arrivedMS, verified}
//
// state is asked, receiving, segment, lost, skipped or broken; instants are
// server time in milliseconds.

const KEEP = 600;

export class Records {
  constructor() {
    this.byType = new Map();
  }

  // open begins a record, or begins it again for another attempt.
  open(type, number) {
    const numbers = this.#of(type);
    let record = numbers.get(number);
    if (!record) {
      record = { type, number, state: 'asked', defects: [], pipeline: '', region: '', rendition: '' };
      numbers.set(number, record);
      // A Map keeps insertion order: the first key is the oldest record.
      if (numbers.size > KEEP) numbers.delete(numbers.keys().next().value);
    }
    return record;
  }

  get(type, number) {
    return this.#of(type).get(number) ?? null;
  }

  // The records of a type whose numbers lie between from and to.
  between(type, from, to) {
    const out = [];
    for (let n = from; n <= to; n++) {
      const record = this.get(type, n);
      if (record) out.push(record);
    }
    return out;
  }

  clear() {
    this.byType.clear();
  }

  #of(type) {
    if (!this.byType.has(type)) this.byType.set(type, new Map());
    return this.byType.get(type);
  }
}

// A Window of the last few values of a measurement.
export class Window {
  constructor(size) {
    this.size = size;
    this.values = [];
  }
  add(value) {
    this.values.push(value);
    if (this.values.length > this.size) this.values.shift();
  }
  get last() {
    return this.values.at(-1) ?? null;
  }
  get least() {
    return this.values.length ? Math.min(...this.values) : null;
  }
  get median() {
    if (!this.values.length) return null;
    return [...this.values].sort((a, b) => a - b)[this.values.length >> 1];
  }
}
