// Freezes of the picture, measured at the playhead. Pure: time comes in.
//
// A stall is a playhead that stands for at least LEAST_MS while it should
// move. It counts as soon as it is that old, with its whole duration. What a
// viewer asked for (a pause, a seek) is not a stall, nor is the wait at a gap:
// where media is missing for good there is nothing to show for as long as it
// lasted, and a picture that stands no longer than that has not fallen behind.
// Such a wait is counted by itself, when the gap is jumped; one that ends
// otherwise, or lasts longer, was a stall after all.

const LEAST_MS = 300;

export class Stalls {
  constructor() {
    this.count = 0;
    this.totalMS = 0;
    this.gapMS = 0;
    this.reset();
  }

  // reset forgets where the playhead was: after a seek.
  reset() {
    this.position = null;
    this.movedAt = null;
    this.since = null;
    this.atGap = false;
  }

  // Whether the picture stands now.
  get stalled() {
    return this.since !== null;
  }

  // tick takes the time in ms, the playhead's position in seconds, whether it
  // should be moving, and, where what it waits for is overdue or lost, for how
  // many milliseconds that explains a freeze. Returns 'began', {endedMS} at the
  // end of a stall, or null.
  tick(now, position, shouldMove, explainedMS = 0) {
    if (!shouldMove) {
      const ended = this.#end(now);
      this.reset();
      return ended;
    }
    if (this.position === null || Math.abs(position - this.position) > 0.001) {
      const ended = this.#end(now) ?? this.#unseen(now, position);
      this.position = position;
      this.movedAt = now;
      return ended;
    }
    if (this.since === null && now - this.movedAt >= LEAST_MS) {
      this.since = this.movedAt;
      this.countedUntil = this.movedAt;
      this.atGap = explainedMS > 0;
      if (this.atGap) return null;
      this.count++;
      this.#count(now);
      return 'began';
    }
    if (this.since !== null && this.atGap && now - this.since > explainedMS) {
      this.#late(now);
      return 'began';
    }
    if (this.since !== null && !this.atGap) this.#count(now);
    return null;
  }

  // jumped says that the playhead is about to go over a gap of so many
  // seconds. Returns how long the picture stood before it, in milliseconds.
  jumped(now, seconds) {
    const stood = this.frozenMS(now);
    if (this.since !== null && this.atGap) {
      if (stood > seconds * 1000 + LEAST_MS) this.#late(now);
      else this.gapMS += stood;
    } else if (this.since !== null) {
      this.#count(now);
    }
    this.reset();
    return stood;
  }

  // How long the playhead has stood, stall or not yet.
  frozenMS(now) {
    return this.movedAt === null ? 0 : now - this.movedAt;
  }

  // A page that was too busy to look missed a stall as well: the playhead moved
  // by less than the time that passed. A playhead that is slowed down on
  // purpose is within a tenth.
  #unseen(now, position) {
    if (this.position === null || position < this.position) return null;
    const passed = now - this.movedAt;
    const stood = passed - (position - this.position) * 1000;
    if (stood < LEAST_MS || stood < passed / 10) return null;
    this.count++;
    this.totalMS += stood;
    return { endedMS: stood };
  }

  #count(now) {
    this.totalMS += now - this.countedUntil;
    this.countedUntil = now;
  }

  // A wait that was taken for a gap's counts in whole.
  #late(now) {
    this.count++;
    this.#count(now);
    this.atGap = false;
  }

  #end(now) {
    if (this.since === null) return null;
    if (this.atGap) this.#late(now);
    else this.#count(now);
    const endedMS = now - this.since;
    this.since = null;
    return { endedMS };
  }
}
