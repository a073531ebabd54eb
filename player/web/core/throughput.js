// How fast the network delivers, from transfers.
//
// Only the time from a response's first byte to its last counts: at the live
// edge the wait for the first byte is the wait for the encoder. Averaged is the
// time that a bit takes, not its inverse: so that one slow transfer after many
// quick ones is felt at once, as it is by the viewer. Two averages with
// different memories run side by side and the lower throughput is believed: a
// recovery has to last.

// Smaller bodies arrive within one round trip and say nothing of bandwidth.
const SMALLEST_BYTES = 16 * 1024;
// On loopback a body arrives in no measurable time.
const SHORTEST_MS = 1;
// Short downloads of a fast network would otherwise weigh nothing.
const LEAST_SECONDS = 1.5;
const FAST_SECONDS = 1.5;
const SLOW_SECONDS = 5;

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

  // One transfer of bytes in ms, whole or broken off.
  add(bytes, ms) {
    if (bytes < SMALLEST_BYTES) return;
    const took = Math.max(ms, SHORTEST_MS);
    this.last = (bytes * 8000) / took;
    const seconds = Math.max(took / 1000, LEAST_SECONDS);
    this.fast.add(1 / this.last, seconds);
    this.slow.add(1 / this.last, seconds);
    this.samples++;
  }

  // Bits per second.
  get estimate() {
    return this.samples === 0 ? this.initial : 1 / Math.max(this.fast.estimate, this.slow.estimate);
  }
}
