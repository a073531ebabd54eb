// The samples of a media segment, and when they are (ISO/IEC 14496-12, 8.8). Pure.

import { boxes, find, view } from './mp4.js';

const MOST_SAMPLES = 20_000;

// samplesOf returns {samples, track, plain}: a segment's samples, {at, duration, flags,
// composition, data}, with times in ticks, the track's id, and whether the fragments have
// nothing that refers to samples by number or offset; null where they are of several
// tracks. Throws RangeError where the bytes are not what their sizes claim. defaults are
// those of readInit.
export function samplesOf(bytes, defaults) {
  const v = view(bytes);
  const samples = [];
  let track = 0;
  let plain = true;
  for (const moof of boxes(v)) {
    if (moof.type !== 'moof') continue;
    const trafs = [...boxes(v, moof.body, moof.end)].filter((b) => b.type === 'traf');
    if (trafs.length !== 1) return null;
    const inside = [...boxes(v, trafs[0].body, trafs[0].end)];
    plain &&= inside.every((b) => ['tfhd', 'tfdt', 'trun'].includes(b.type));
    const head = readHead(v, find(v, ['tfhd'], trafs[0].body, trafs[0].end), moof.start, defaults);
    const tfdt = find(v, ['tfdt'], trafs[0].body, trafs[0].end);
    if (!head || !tfdt || (track && head.track !== track)) return null;
    track = head.track;
    let at = v.getUint8(tfdt.body) === 0 ? v.getUint32(tfdt.body + 4) : Number(v.getBigUint64(tfdt.body + 4));
    let offset = head.base;
    for (const trun of inside.filter((b) => b.type === 'trun')) {
      ({ at, offset } = readRun(v, bytes, trun, head, at, offset, samples));
    }
  }
  // Several may say that the same bytes are theirs: who reads them all would never end.
  if (samples.reduce((sum, s) => sum + s.data.length, 0) > bytes.byteLength) throw new RangeError('samples of more bytes than the segment has');
  return { samples, track, plain };
}

// tfhd, ISO/IEC 14496-12, 8.8.7.
function readHead(v, box, moofStart, defaults) {
  if (!box) return null;
  const flags = v.getUint32(box.body) & 0xffffff;
  const head = { track: v.getUint32(box.body + 4), base: moofStart, ...defaults };
  let p = box.body + 8;
  if (flags & 0x000001) {
    head.base = Number(v.getBigUint64(p));
    p += 8;
  }
  if (flags & 0x000002) p += 4;
  for (const [bit, name] of [[0x000008, 'duration'], [0x000010, 'size'], [0x000020, 'flags']]) {
    if (!(flags & bit)) continue;
    head[name] = v.getUint32(p);
    p += 4;
  }
  return head;
}

// trun, ISO/IEC 14496-12, 8.8.8.
function readRun(v, bytes, box, head, at, offset, samples) {
  const version = v.getUint8(box.body);
  const flags = v.getUint32(box.body) & 0xffffff;
  const count = v.getUint32(box.body + 4);
  if (samples.length + count > MOST_SAMPLES) throw new RangeError('too many samples');
  let p = box.body + 8;
  const next = () => {
    if (p + 4 > box.end) throw new RangeError('a sample table that ends early');
    p += 4;
    return p - 4;
  };
  if (flags & 0x000001) offset = head.base + v.getInt32(next());
  const first = flags & 0x000004 ? v.getUint32(next()) : null;
  for (let i = 0; i < count; i++) {
    const duration = flags & 0x000100 ? v.getUint32(next()) : head.duration;
    const size = flags & 0x000200 ? v.getUint32(next()) : head.size;
    const own = flags & 0x000400 ? v.getUint32(next()) : head.flags;
    let composition = 0;
    if (flags & 0x000800) composition = version === 0 ? v.getUint32(next()) : v.getInt32(next());
    if (offset < 0 || offset + size > bytes.byteLength) throw new RangeError('a sample outside of the segment');
    samples.push({ at, duration, flags: i === 0 && first !== null ? first : own, composition, data: bytes.subarray(offset, offset + size) });
    at += duration;
    offset += size;
  }
  return { at, offset };
}
