// How fast the network delivers, from transfers.
//
// Only the time from a response's first byte to its last counts: at the live
// edge the wait for the first byte is the wait for the encoder. Two averages
// with different memories run side by side and the lower one is believed: a
// drop is felt at once, a recovery has to last.

// Smaller bodies arrive within one round trip and say nothing of bandwidth.
const SMALLEST_BYTES = 16 * 1024;
// On loopback a body arrives in no measurable time.
const SHORTEST_MS = 1;
const FAST_SECONDS = 2;
const SLOW_SECONDS = 8;

class Average {
  constructor(halfLife) {
    this.halfLife = halfLife;
    this.value = 0;
    this.weight = 0;
  }
  add(value, seconds) {
    const keep = 0.5 ** (seconds / this.halfLife);
    this.value = this.value * keep + value * (1 - keep);
    this.weight = this.weight * keep + (1 - keep);
  }
  get estimate() {
    return this.weight > 0 ? this.value / this.weight : 0;
  }
}

export class Throughput {
  // initial is believed until something was measured, in bits per second.
  constructor(initial = 4e6) {
    this.initial = initial;
    this.fast = new Average(FAST_SECONDS);
    this.slow = new Average(SLOW_SECONDS);
    this.samples = 0;
    this.last = null;
  }

  // One transfer of bytes in ms. A transfer counts as at least half a second
  // of evidence: short downloads of a fast network would otherwise weigh
  // nothing.
  add(bytes, ms) {
    if (bytes < SMALLEST_BYTES) return;
    const took = Math.max(ms, SHORTEST_MS);
    this.last = (bytes * 8000) / took;
    const seconds = Math.max(took / 1000, 0.5);
    this.fast.add(this.last, seconds);
    this.slow.add(this.last, seconds);
    this.samples++;
  }

  // Bits per second.
  get estimate() {
    return this.samples === 0 ? this.initial : Math.min(this.fast.estimate, this.slow.estimate);
  }
}
