// Bridges holes in a defective segment. Pure: bytes in, bytes out.
//
// The edge serves the least bad segment there is when none is good. A hole of
// three frames in it would cost a viewer far more than three frames: at a jump
// of the decode time a SourceBuffer waits for the next key frame and drops what
// comes before it (Media Source Extensions, coded frame processing), and a
// playhead stops at the hole. So the frame before a hole of video is held for
// as long as the hole is, and a hole of audio is filled with silence: then
// everything that was delivered is also shown, in its place.

import { typeOf, view } from './mp4.js';
import { samplesOf } from './samples.js';

// Less than this share of a frame is rounding.
const ROUNDING = 0.5;
// Boundaries of segments follow the average to within one frame.
const BOUNDARY = 1.5;
// One frame of AAC-LC silence, by number of channels, as an encoder makes it.
const SILENCE = {
  1: Uint8Array.of(0x01, 0x18, 0x20, 0x07),
  2: Uint8Array.of(0x21, 0x10, 0x04, 0x60, 0x8c, 0x1c),
};

// heal returns {bytes, filledTicks}, or null where nothing is to be done or
// the segment is not of a form that can be rebuilt (encrypted, several tracks
// in a fragment, malformed). init is what readInit said; from and to are the
// segment's slot in ticks of its track.
export function heal(bytes, { type, init, from, to }) {
  let parsed;
  try {
    parsed = samplesOf(bytes, init.defaults);
  } catch (error) {
    if (error instanceof RangeError) return null;
    throw error;
  }
  if (!parsed?.plain || parsed.samples.length === 0) return null;
  const { samples, track } = parsed;
  const frame = [...samples].sort((a, b) => a.duration - b.duration)[samples.length >> 1].duration;
  const whole = to - from;
  if (!(frame > 0) || !(whole > 0) || Math.abs(samples[0].at - from) > whole) return null;
  const bridge = type === 'audio' ? silent(init, frame) : hold;
  const out = [];
  let filled = 0;

  const late = samples[0].at - from;
  if (late > BOUNDARY * frame) filled += bridge(out, samples[0], late, true);
  for (const [i, sample] of samples.entries()) {
    out.push(sample);
    const next = samples[i + 1]?.at ?? to;
    const hole = next - (sample.at + sample.duration);
    const least = i + 1 < samples.length ? ROUNDING : BOUNDARY;
    if (hole > least * frame && hole < whole) filled += bridge(out, sample, hole, false);
  }
  return filled > 0 ? { bytes: build(track, out), filledTicks: filled } : null;
}

// hold shows a frame for longer: from the beginning of a hole before it, or
// until the end of one behind it.
function hold(out, sample, hole, before) {
  if (before) sample.at -= hole;
  sample.duration += hole;
  return hole;
}

// silent fills with frames of silence; for codecs whose silence is not known
// here, with the frame beside the hole.
function silent(init, frame) {
  const quiet = init.codecs === 'mp4a.40.2' ? SILENCE[init.channels] : null;
  return (out, sample, hole, before) => {
    const count = Math.round(hole / frame);
    const start = before ? sample.at - count * frame : sample.at + sample.duration;
    for (let i = 0; i < count; i++) {
      out.push({ ...sample, at: start + i * frame, duration: frame, data: quiet ?? sample.data });
    }
    return count * frame;
  };
}

// build writes one fragment with all samples.
function build(track, samples) {
  const TRAF = 8 + 16 + 20 + 20 + samples.length * 16;
  const MOOF = 8 + 16 + TRAF;
  const size = samples.reduce((sum, s) => sum + s.data.byteLength, 0);
  const bytes = new Uint8Array(MOOF + 8 + size);
  const v = view(bytes);
  let p = 0;
  const u32 = (n) => {
    v.setUint32(p, n);
    p += 4;
  };
  const box = (length, type, flags = null) => {
    u32(length);
    u32(typeOf(type));
    if (flags !== null) u32(flags);
  };
  box(MOOF, 'moof');
  box(16, 'mfhd', 0);
  u32(1);
  box(TRAF, 'traf');
  // Offsets count from the moof.
  box(16, 'tfhd', 0x020000);
  u32(track);
  box(20, 'tfdt', 0x01000000);
  v.setBigUint64(p, BigInt(samples[0].at));
  p += 8;
  box(20 + samples.length * 16, 'trun', 0x01000f01);
  u32(samples.length);
  u32(MOOF + 8);
  for (const s of samples) {
    u32(s.duration);
    u32(s.data.byteLength);
    u32(s.flags);
    v.setInt32(p, s.composition);
    p += 4;
  }
  box(8 + size, 'mdat');
  for (const s of samples) {
    bytes.set(s.data, p);
    p += s.data.byteLength;
  }
  return bytes;
}
