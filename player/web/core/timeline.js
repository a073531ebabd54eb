// The event's timeline, as origin and edge compute it.
//
// Instants are milliseconds of Unix time. Positions are seconds on the media
// element's timeline, which begins at zero with the event's start, whatever
// the event's decode times begin with. The duration of a segment is the
// rational ticks/timescale: a start is computed from the number, never by
// adding durations up, so that nothing drifts over a year of 2.002 s segments.

const NAME = '[a-z0-9][a-z0-9-]{0,62}';
const EVENT = new RegExp(`^${NAME}/${NAME}$`);

// isEventName reports whether text has the form TENANT/EVENT.
export function isEventName(text) {
  return EVENT.test(text);
}

// parseTime reads an RFC 3339 time into nanoseconds of Unix time, as a BigInt.
export function parseTime(text) {
  const m = /^(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?([Zz]|[+-]\d\d:\d\d)$/.exec(text);
  const seconds = m ? Date.parse(`${m[1]}T${m[2]}${m[4].toUpperCase()}`) / 1000 : NaN;
  if (!Number.isFinite(seconds)) throw new RangeError(`not an RFC 3339 time: ${JSON.stringify(text)}`);
  return BigInt(seconds) * 1_000_000_000n + BigInt((m[3] ?? '').padEnd(9, '0'));
}

const toMS = (ns) => Number(ns / 1000n) / 1000;

export class Timeline {
  // config is the event JSON with its defaults filled in.
  constructor(config) {
    this.startNS = parseTime(config.start);
    this.first = config.first_number ?? 1;
    this.ticks = config.segment?.ticks ?? 2;
    this.timescale = config.segment?.timescale ?? 1;
    if (!(this.ticks > 0) || !(this.timescale > 0)) throw new RangeError('a segment has no duration');
    this.segment = this.ticks / this.timescale;
    this.mediaTime = config.media_time ?? 'unix';
    this.allowanceMS = config.allowance_ms ?? 500;
    this.holdMS = config.hold_ms ?? 2000;
    this.budgetMS = config.budget_ms ?? 2000;
    this.dvrMS = (config.dvr_seconds ?? 14400) * 1000;
    this.latenessMS = config.lateness_ms ?? {};
    this.originMS = toMS(this.startNS);
    // Null while no end is known. The last segment holds the last instant
    // before the end.
    this.last = null;
    if (config.end) {
      const length = parseTime(config.end) - this.startNS - 1n;
      const k = (length * BigInt(this.timescale)) / (BigInt(this.ticks) * 1_000_000_000n);
      this.last = this.first + Number(k);
    }
  }

  // What to add to decode times so that they become positions: zero, or minus
  // the event's start in seconds. Whole seconds and the rest are converted
  // apart: nanoseconds of Unix time do not fit a double, microseconds, which
  // media elements count in, do.
  get timestampOffset() {
    if (this.mediaTime === 'start') return 0;
    return -(Number(this.startNS / 1_000_000_000n) + Number(this.startNS % 1_000_000_000n) / 1e9);
  }

  // The decode time at which segment n begins, in ticks of a track, rounded
  // down. Exact for as long as a double counts ticks.
  decodeTimeOf(n, timescale) {
    const scale = BigInt(timescale);
    const ticks = (BigInt(n - this.first) * BigInt(this.ticks) * scale) / BigInt(this.timescale);
    const start = this.mediaTime === 'start' ? 0n : (this.startNS * scale) / 1_000_000_000n;
    return Number(start + ticks);
  }

  // The position at which segment n begins, on average over the event.
  positionOf(n) {
    return ((n - this.first) * this.ticks) / this.timescale;
  }

  // The number of the segment that holds a position; it can lie outside of
  // first and last.
  numberAt(position) {
    let n = this.first + Math.floor((position * this.timescale) / this.ticks);
    // The quotient can be one off next to a boundary; positionOf decides.
    while (this.positionOf(n) > position) n--;
    while (this.positionOf(n + 1) <= position) n++;
    return n;
  }

  holds(n) {
    return n >= this.first && (this.last === null || n <= this.last);
  }

  // When the last frame of n ends.
  endMS(n) {
    const ns = (BigInt(n - this.first + 1) * BigInt(this.ticks) * 1_000_000_000n) / BigInt(this.timescale);
    return toMS(this.startNS + ns);
  }

  // When n should be published: its end, the allowance, and how late this
  // rendition is by the origin's measurements.
  expectedMS(n, rendition) {
    return this.endMS(n) + this.allowanceMS + (this.latenessMS[rendition] ?? 0);
  }

  // From when on a request for n is held rather than refused.
  dueMS(n, rendition) {
    return this.expectedMS(n, rendition) - this.holdMS;
  }

  // Until when n can still come; after that it is lost.
  deadlineMS(n, rendition) {
    return this.expectedMS(n, rendition) + this.budgetMS;
  }

  // never, early, due, past or gone, as the server places n at an instant.
  placeOf(n, ms, rendition) {
    if (!this.holds(n)) return 'never';
    if (ms < this.dueMS(n, rendition)) return 'early';
    const deadline = this.deadlineMS(n, rendition);
    if (ms <= deadline) return 'due';
    return ms <= Math.max(deadline, this.endMS(n) + this.dvrMS) ? 'past' : 'gone';
  }

  // The position that is captured at an instant, and the instant of a position.
  positionAt(ms) {
    return (ms - this.originMS) / 1000;
  }
  instantOf(position) {
    return this.originMS + position * 1000;
  }

  // The first position that a viewer can still ask for. One segment of slack:
  // what is about to leave the window would be gone when it is asked for.
  oldestPosition(ms) {
    const oldest = this.positionAt(ms - this.dvrMS);
    return oldest <= 0 ? 0 : this.positionOf(this.numberAt(oldest) + 1);
  }

  // Where the media ends, or null while no end is known.
  get endPosition() {
    return this.last === null ? null : this.positionOf(this.last + 1);
  }

  // Whether the last segment is past its deadline.
  finished(ms) {
    return this.last !== null && ms > this.deadlineMS(this.last);
  }
}
