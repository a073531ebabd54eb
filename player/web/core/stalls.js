// Freezes of the picture, measured at the playhead. Pure: time comes in.
//
// A stall is a playhead that stands for at least LEAST_MS while it should
// move. It counts as soon as it is that old, with its whole duration; what a
// viewer asked for (a pause, a seek) is not a stall.

const LEAST_MS = 200;

export class Stalls {
  constructor() {
    this.count = 0;
    this.totalMS = 0;
    this.reset();
  }

  // reset forgets where the playhead was: after a seek.
  reset() {
    this.position = null;
    this.movedAt = null;
    this.since = null;
  }

  // Whether the picture stands now, and for how long.
  get stalled() {
    return this.since !== null;
  }

  // tick takes the time in ms, the playhead's position in seconds, and whether
  // it should be moving. Returns 'began', {endedMS} at the end of a stall, or
  // null.
  tick(now, position, shouldMove) {
    if (!shouldMove) {
      const ended = this.#end(now);
      this.reset();
      return ended;
    }
    if (this.position === null || Math.abs(position - this.position) > 0.001) {
      const ended = this.#end(now);
      this.position = position;
      this.movedAt = now;
      return ended;
    }
    if (this.since === null && now - this.movedAt >= LEAST_MS) {
      this.since = this.movedAt;
      this.countedUntil = this.movedAt;
      this.count++;
      this.#count(now);
      return 'began';
    }
    if (this.since !== null) this.#count(now);
    return null;
  }

  // How long the playhead has stood, stall or not yet.
  frozenMS(now) {
    return this.movedAt === null ? 0 : now - this.movedAt;
  }

  #count(now) {
    this.totalMS += now - this.countedUntil;
    this.countedUntil = now;
  }

  #end(now) {
    if (this.since === null) return null;
    this.#count(now);
    const endedMS = now - this.since;
    this.since = null;
    return { endedMS };
  }
}
