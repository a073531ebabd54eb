// What the viewer sees now, by the segment under the playhead: pipeline and
// its switches, defects, notifications.

export class OnScreen {
  constructor({ records, notices, journal, now }) {
    Object.assign(this, { records, notices, journal, now });
    this.number = null;
    this.record = null;
    this.wrong = [];
    this.pipeline = '';
    this.region = '';
    this.since = null;
    this.switches = [];
    this.defects = [];
    this.seen = new Set();
  }

  // moved forgets continuity: after a seek another pipeline is no switch.
  moved() {
    this.pipeline = '';
    this.number = null;
  }

  // at takes the number under the playhead, after each tick.
  at(number) {
    const record = this.records.get('video', number) ?? this.records.get('audio', number);
    this.record = record;
    // Of picture and sound.
    this.wrong = ['video', 'audio'].flatMap((type) => this.records.get(type, number)?.defects ?? []);
    this.#notify(number);
    if (!record || record.state !== 'segment') return;
    this.#pipeline(record);
    if (number === this.number) return;
    this.number = number;
    for (const type of ['video', 'audio']) this.#defects(this.records.get(type, number));
  }

  #pipeline(record) {
    if (!record.pipeline || record.pipeline === this.pipeline) return;
    const from = this.pipeline;
    this.pipeline = record.pipeline;
    this.region = record.region;
    this.since = this.now();
    if (!from) return;
    this.switches.push({ at: this.since, number: record.number, from, to: record.pipeline });
    const where = record.region ? ` (${record.region})` : '';
    this.journal.add('switch', 'info', `Pipeline ${from} → ${record.pipeline}${where} at segment ${record.number}`);
  }

  #defects(record) {
    if (!record || record.state !== 'segment' || record.defects.length === 0) return;
    const key = `${record.type} ${record.number}`;
    if (this.seen.has(key)) return;
    this.seen.add(key);
    this.defects.push({ at: this.now(), number: record.number, type: record.type, pipeline: record.pipeline, defects: record.defects, bridgedMS: record.bridgedMS ?? 0 });
    this.journal.add('defect', 'warn', `Segment ${record.number} ${record.type}: ${describeDefects(record.defects)}${record.pipeline ? ` (pipeline ${record.pipeline})` : ''}${record.bridgedMS ? '; bridged' : ''}`);
  }

  #notify(number) {
    for (const { notice, phase } of this.notices.moveTo(number)) {
      const name = `${notice.type} “${notice.id}”`;
      const range = `${notice.from}–${notice.to ?? 'open'}`;
      if (phase === 'coming') this.journal.add('notice', 'info', `${name} is coming at segment ${notice.from} (${range})`);
      if (phase === 'active') this.journal.add('notice', 'good', `${name} began (${range})`);
      if (phase === 'over') this.journal.add('notice', 'info', `${name} is over`);
      if (phase === 'withdrawn') this.journal.add('notice', 'info', `${name} was withdrawn`);
    }
  }
}

export function describeDefects(defects) {
  return defects
    .map((d) => {
      const costs = [d.ms ? `${d.ms} ms` : '', d.samples ? `${d.samples} samples` : ''].filter(Boolean).join(', ');
      return d.kind.replaceAll('-', ' ') + (costs ? ` ${costs}` : '');
    })
    .join('; ');
}
