// The server's clock, as seen from here.
//
// GET /time answers with the server's UTC time; half of the round trip is what
// it may be off. The estimate is kept against a monotonic clock, so that a
// step of the viewer's own wall clock moves nothing, and comes from the
// quickest of the last few exchanges, whose error is the smallest.

const KEEP = 8;
const FRESH_MS = 5 * 60_000;
// A disagreement larger than this is a jump (the machine slept), not noise.
const JUMP_MS = 1500;

export class Clock {
  // fetchTime() resolves to the text of /time. monotonic() is milliseconds
  // from any origin; wall() is what to believe until the first exchange.
  constructor({ fetchTime, monotonic = () => performance.now(), wall = () => Date.now() }) {
    this.fetchTime = fetchTime;
    this.monotonic = monotonic;
    this.samples = [];
    this.offset = wall() - monotonic();
    this.synchronised = false;
    this.roundTripMS = null;
  }

  // Milliseconds of Unix time at the server.
  now() {
    return this.monotonic() + this.offset;
  }

  // How wrong now() can be, in milliseconds, or null before the first exchange.
  get errorMS() {
    return this.roundTripMS === null ? null : this.roundTripMS / 2;
  }

  // One exchange. Rejects if the server cannot be asked or gives no time.
  async sync() {
    const sent = this.monotonic();
    const text = await this.fetchTime();
    const received = this.monotonic();
    const server = Date.parse(text.trim());
    if (!Number.isFinite(server)) throw new RangeError(`/time answered ${JSON.stringify(text.slice(0, 40))}`);
    this.add({ roundTrip: received - sent, offset: server - (sent + received) / 2, at: received });
  }

  add(sample) {
    if (this.synchronised && Math.abs(sample.offset - this.offset) > JUMP_MS + sample.roundTrip / 2) this.samples = [];
    this.samples = this.samples.filter((s) => sample.at - s.at < FRESH_MS).slice(-KEEP + 1);
    this.samples.push(sample);
    const best = this.samples.reduce((a, b) => (b.roundTrip < a.roundTrip ? b : a));
    this.offset = best.offset;
    this.roundTripMS = best.roundTrip;
    this.synchronised = true;
  }
}
