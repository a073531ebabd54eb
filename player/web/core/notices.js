// The event's notifications. Each response carries the whole current set with
// its sequence number; the highest number wins, because responses overtake
// each other and caches are older than edges. Pure.

// A phase of a notification for a viewer whose playhead is in segment number.
export function phaseOf(notice, number) {
  if (number < notice.from) return 'coming';
  return notice.to === null || number <= notice.to ? 'active' : 'over';
}

const keyOf = (notice) => `${notice.type} ${notice.id}`;

export class Notices {
  constructor() {
    this.reset();
  }

  // reset forgets everything: another event, which counts from the beginning.
  reset() {
    this.sequence = -1;
    this.current = [];
    this.phases = new Map();
  }

  // set takes what a response said, {sequence, notifications} or null, and
  // returns true if it is news.
  set(said) {
    if (!said || said.sequence <= this.sequence) return false;
    this.sequence = said.sequence;
    this.current = said.notifications;
    return true;
  }

  // moveTo tells what changed for a playhead in segment number since the last
  // call: [{notice, phase}] with phase coming, active, over, or withdrawn for
  // one that left the set before it was over.
  moveTo(number) {
    const changes = [];
    const seen = new Map();
    for (const notice of this.current) {
      const phase = phaseOf(notice, number);
      const before = this.phases.get(keyOf(notice));
      seen.set(keyOf(notice), { phase, notice });
      // What was over before the viewer came is not news.
      if (before?.phase !== phase && !(before === undefined && phase === 'over')) changes.push({ notice, phase });
    }
    for (const [key, { phase, notice }] of this.phases) {
      if (!seen.has(key) && (phase === 'active' || phase === 'coming')) changes.push({ notice, phase: 'withdrawn' });
    }
    this.phases = seen;
    return changes;
  }

  active(number) {
    return this.current.filter((n) => phaseOf(n, number) === 'active');
  }
}

// describe is what to show of a notification: its own title or text where its
// data is a JSON object that has one, else the data as text, else nothing.
export function describe(notice) {
  if (!notice.data || notice.data.length === 0) return '';
  let text;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(notice.data);
  } catch {
    return `${notice.data.length} bytes`;
  }
  try {
    const data = JSON.parse(text);
    if (typeof data === 'string') return data;
    if (data && typeof data === 'object') {
      for (const key of ['title', 'text', 'message', 'label', 'name']) {
        if (typeof data[key] === 'string' && data[key]) return data[key];
      }
      return Object.keys(data).length ? text : '';
    }
    return text;
  } catch {
    return text;
  }
}
