// The little of ISO/IEC 14496-12 that a player needs: what an init segment's
// track is, and when a media segment begins. Nothing here trusts a size field
// further than the bytes that are there.

const HEADER = 8;
const CONTAINERS = new Set(['moov', 'trak', 'mdia', 'minf', 'stbl', 'mvex', 'moof', 'traf']);

export const view = (bytes) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

// A box type as the number it is stored as.
export const typeOf = (type) => [...type].reduce((n, c) => ((n << 8) | c.charCodeAt(0)) >>> 0, 0);

// boxes yields {type, start, body, end} for each box between from and to, all
// offsets. It stops at the first size that cannot be.
export function* boxes(v, from = 0, to = v.byteLength) {
  let at = from;
  while (at + HEADER <= to) {
    let size = v.getUint32(at);
    let body = at + HEADER;
    if (size === 1) {
      if (at + 16 > to) return;
      size = Number(v.getBigUint64(at + 8));
      body = at + 16;
    } else if (size === 0) {
      size = to - at;
    }
    if (size < body - at || at + size > to) return;
    const type = String.fromCharCode(v.getUint8(at + 4), v.getUint8(at + 5), v.getUint8(at + 6), v.getUint8(at + 7));
    yield { type, start: at, body, end: at + size };
    at += size;
  }
}

// find returns the first box on a path of types, or null.
export function find(v, path, from = 0, to = v.byteLength) {
  const [type, ...rest] = path;
  for (const box of boxes(v, from, to)) {
    if (box.type !== type) continue;
    if (rest.length === 0) return box;
    if (!CONTAINERS.has(type)) return null;
    return find(v, rest, box.body, box.end);
  }
  return null;
}

// readInit returns {timescale, codecs, width, height, channels, defaults} of an
// init segment's first track; codecs is an RFC 6381 string, defaults are those
// of samples ({duration, size, flags}, from trex). Throws RangeError where there is
// no track, or a sample entry that it does not know.
export function readInit(bytes) {
  const v = view(bytes);
  const mdhd = find(v, ['moov', 'trak', 'mdia', 'mdhd']);
  const stsd = find(v, ['moov', 'trak', 'mdia', 'minf', 'stbl', 'stsd']);
  if (!mdhd || !stsd) throw new RangeError('not an init segment');
  const timescale = v.getUint32(mdhd.body + (v.getUint8(mdhd.body) === 1 ? 20 : 12));
  const [entry] = boxes(v, stsd.body + 8, stsd.end);
  if (!entry) throw new RangeError('an init segment without a sample entry');
  const out = { timescale, codecs: '', width: 0, height: 0, channels: 0, defaults: defaultsOf(v) };
  const read = ENTRIES[entry.type];
  if (!read) throw new RangeError(`a sample entry that is not known: ${entry.type}`);
  if (read.text) {
    out.codecs = entry.type;
    return out;
  }
  if (read.video) {
    out.width = v.getUint16(entry.body + 24);
    out.height = v.getUint16(entry.body + 26);
  } else {
    out.channels = v.getUint16(entry.body + 16);
  }
  // A visual sample entry has 78 bytes before its boxes, an audio one 28.
  const boxesAt = entry.body + (read.video ? 78 : 28);
  const config = [...boxes(v, boxesAt, entry.end)].find((b) => b.type === read.config);
  if (!config) throw new RangeError(`a sample entry ${entry.type} without ${read.config}`);
  out.codecs = read.codecs(v, config, entry.type);
  return out;
}

function defaultsOf(v) {
  const trex = find(v, ['moov', 'mvex', 'trex']);
  if (!trex || trex.body + 24 > trex.end) return { duration: 0, size: 0, flags: 0 };
  return { duration: v.getUint32(trex.body + 12), size: v.getUint32(trex.body + 16), flags: v.getUint32(trex.body + 20) };
}

const hex = (n, digits = 2) => n.toString(16).padStart(digits, '0');
const two = (n) => String(n).padStart(2, '0');

const avc = {
  video: true,
  config: 'avcC',
  // ISO/IEC 14496-15: profile, constraints and level follow the version.
  codecs: (v, box, type) => `${type}.${[1, 2, 3].map((i) => hex(v.getUint8(box.body + i))).join('')}`,
};

const hevc = {
  video: true,
  config: 'hvcC',
  // ISO/IEC 14496-15, annex E.
  codecs(v, box, type) {
    const profile = v.getUint8(box.body + 1);
    let flags = v.getUint32(box.body + 2);
    let reversed = 0;
    for (let i = 0; i < 32; i++) {
      reversed = (reversed << 1) | (flags & 1);
      flags >>>= 1;
    }
    const parts = [
      type,
      ['', 'A', 'B', 'C'][profile >> 6] + (profile & 31),
      (reversed >>> 0).toString(16),
      (profile & 32 ? 'H' : 'L') + v.getUint8(box.body + 12),
    ];
    const constraints = [];
    for (let i = 0; i < 6; i++) constraints.push(v.getUint8(box.body + 6 + i));
    while (constraints.length && constraints.at(-1) === 0) constraints.pop();
    return [...parts, ...constraints.map((c) => c.toString(16))].join('.');
  },
};

const ENTRIES = {
  avc1: avc,
  avc3: avc,
  hvc1: hevc,
  hev1: hevc,
  av01: {
    video: true,
    config: 'av1C',
    // AV1 in ISOBMFF, section 5.
    codecs(v, box) {
      const b1 = v.getUint8(box.body + 1);
      const b2 = v.getUint8(box.body + 2);
      const depth = b2 & 0x40 ? (b1 >> 5 === 2 && b2 & 0x20 ? 12 : 10) : 8;
      return `av01.${b1 >> 5}.${two(b1 & 31)}${b2 & 0x80 ? 'H' : 'M'}.${two(depth)}`;
    },
  },
  vp09: {
    video: true,
    config: 'vpcC',
    // A full box: version and flags, then profile, level, depth.
    codecs: (v, box) => `vp09.${two(v.getUint8(box.body + 4))}.${two(v.getUint8(box.body + 5))}.${two(v.getUint8(box.body + 6) >> 4)}`,
  },
  mp4a: { config: 'esds', codecs: (v, box) => esds(v, box) },
  Opus: { config: 'dOps', codecs: () => 'opus' },
  fLaC: { config: 'dfLa', codecs: () => 'flac' },
  'ac-3': { config: 'dac3', codecs: () => 'ac-3' },
  // Timed text, ISO/IEC 14496-30.
  wvtt: { text: true },
  stpp: { text: true },
  'ec-3': { config: 'dec3', codecs: () => 'ec-3' },
};

// ISO/IEC 14496-1: descriptors, each a tag, a length in 7-bit groups, a body.
function esds(v, box) {
  let at = box.body + 4;
  let objectType = 0;
  while (at + 2 <= box.end) {
    const tag = v.getUint8(at++);
    let length = 0;
    for (let i = 0, more = true; more && i < 4 && at < box.end; i++) {
      const b = v.getUint8(at++);
      length = (length << 7) | (b & 0x7f);
      more = (b & 0x80) !== 0;
    }
    if (tag === 3) {
      // ES_Descriptor: an id, flags, and what the flags announce; its
      // children follow in its body.
      const flags = v.getUint8(at + 2);
      at += 3 + (flags & 0x80 ? 2 : 0) + (flags & 0x20 ? 2 : 0);
      if (flags & 0x40) at += 1 + v.getUint8(at);
    } else if (tag === 4) {
      objectType = v.getUint8(at);
      at += 13;
    } else if (tag === 5) {
      // AudioSpecificConfig: five bits of audio object type, 31 an escape.
      let type = v.getUint8(at) >> 3;
      if (type === 31) type = 32 + (((v.getUint8(at) & 7) << 3) | (v.getUint8(at + 1) >> 5));
      return `mp4a.${hex(objectType)}.${type}`;
    } else {
      at += length;
    }
  }
  if (!objectType) throw new RangeError('esds without a decoder configuration');
  return `mp4a.${hex(objectType)}`;
}

// decodeTime returns the decode time of a media segment's first fragment in
// ticks of its track, as a BigInt, or null where there is none.
export function decodeTime(bytes) {
  const v = view(bytes);
  const tfdt = find(v, ['moof', 'traf', 'tfdt']);
  if (!tfdt || tfdt.body + 8 > tfdt.end) return null;
  if (v.getUint8(tfdt.body) === 0) return BigInt(v.getUint32(tfdt.body + 4));
  return tfdt.body + 12 > tfdt.end ? null : v.getBigUint64(tfdt.body + 4);
}
