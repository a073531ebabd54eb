import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeTime, readInit } from '../web/core/mp4.js';

const bytes = (...parts) => Buffer.concat(parts.map((p) => (typeof p === 'string' ? Buffer.from(p, 'latin1') : Buffer.from(p))));
const u32 = (n) => [(n >>> 24) & 255, (n >>> 16) & 255, (n >>> 8) & 255, n & 255];
const zeros = (n) => Array(n).fill(0);
const box = (type, ...parts) => {
  const body = bytes(...parts);
  return bytes(u32(8 + body.length), type, body);
};

function init(entry, { version = 0, timescale = 90000 } = {}) {
  const mdhd = box('mdhd', [version, 0, 0, 0], zeros(version ? 16 : 8), u32(timescale), zeros(version ? 12 : 8));
  const stsd = box('stsd', zeros(4), u32(1), entry);
  return bytes(box('ftyp', 'cmf2'), box('moov', box('mvhd', zeros(100)), box('trak', box('tkhd', zeros(84)), box('mdia', mdhd, box('minf', box('stbl', stsd))))));
}
const visual = (type, config) => box(type, zeros(24), [5, 0, 2, 208], zeros(50), config);
const audio = (type, config) => box(type, zeros(28), config);
const esds = (asc, objectType = 0x40) =>
  box('esds', zeros(4), [3, 0x80, 0x80, 0x80, 21 + asc.length, 0, 1, 0], [4, 15 + asc.length, objectType, 0x15], zeros(11), [5, asc.length, ...asc], [6, 1, 2]);

test('codecs of init segments, by RFC 6381', () => {
  const cases = [
    [visual('avc1', box('avcC', [1, 0x64, 0, 0x1f, 255])), 'avc1.64001f'],
    [visual('avc3', bytes(box('pasp', zeros(8)), box('avcC', [1, 0x42, 0xc0, 0x1e]))), 'avc3.42c01e'],
    [visual('hvc1', box('hvcC', [1, 1, 0x60, 0, 0, 0, 0x90, 0, 0, 0, 0, 0, 93])), 'hvc1.1.6.L93.90'],
    [visual('hev1', box('hvcC', [1, 0x22, 0x20, 0, 0, 0, 0xb0, 0, 0, 0, 0, 0, 120])), 'hev1.2.4.H120.b0'],
    [visual('av01', box('av1C', [0x81, 0x08, 0x0c, 0])), 'av01.0.08M.08'],
    [visual('av01', box('av1C', [0x81, 0x0d, 0xc0, 0])), 'av01.0.13H.10'],
    [visual('vp09', box('vpcC', [1, 0, 0, 0, 0, 31, 0x80, 1])), 'vp09.00.31.08'],
    [audio('mp4a', esds([0x11, 0x90])), 'mp4a.40.2'],
    [audio('mp4a', esds([0x2b, 0x92])), 'mp4a.40.5'],
    [audio('mp4a', esds([0xf9, 0x40])), 'mp4a.40.42'],
    [audio('Opus', box('dOps', zeros(11))), 'opus'],
    [audio('fLaC', box('dfLa', zeros(8))), 'flac'],
    [audio('ec-3', box('dec3', zeros(5))), 'ec-3'],
  ];
  for (const [entry, want] of cases) assert.equal(readInit(init(entry)).codecs, want);
});

test('size and timescale, both versions of mdhd', () => {
  const entry = visual('avc1', box('avcC', [1, 0x64, 0, 0x1f]));
  const none = { duration: 0, size: 0, flags: 0 };
  assert.deepEqual(readInit(init(entry)), { codecs: 'avc1.64001f', timescale: 90000, width: 1280, height: 720, channels: 0, defaults: none });
  const trex = box('moov', box('trak', box('mdia', box('mdhd', zeros(24)), box('minf', box('stbl', box('stsd', zeros(8), audio('mp4a', esds([0x11, 0x90]))))))), box('mvex', box('trex', zeros(4), u32(1), u32(1), u32(1024), u32(9), u32(0x02000000))));
  assert.deepEqual(readInit(trex).defaults, { duration: 1024, size: 9, flags: 0x02000000 });
  assert.equal(readInit(init(entry, { version: 1, timescale: 15360 })).timescale, 15360);
});

test('decode times', () => {
  const moof = (tfdt) => bytes(box('styp', 'msdh'), box('prft', zeros(20)), box('moof', box('mfhd', zeros(8)), box('traf', box('tfhd', zeros(8)), tfdt)), box('mdat', zeros(50)));
  assert.equal(decodeTime(moof(box('tfdt', zeros(4), u32(123456)))), 123456n);
  assert.equal(decodeTime(moof(box('tfdt', [1, 0, 0, 0], u32(6420), u32(5))), 1), 6420n * 2n ** 32n + 5n);
  assert.equal(decodeTime(moof(box('tfdt', zeros(2)))), null);
  assert.equal(decodeTime(bytes('no boxes here')), null);
});

test('a view into a larger buffer', () => {
  const segment = bytes(zeros(13), box('moof', box('traf', box('tfdt', zeros(4), u32(7)))));
  assert.equal(decodeTime(segment.subarray(13)), 7n);
});

test('truncated and mangled bytes give an error or nothing, never a hang', () => {
  const good = init(audio('mp4a', esds([0x11, 0x90])));
  for (let length = 0; length < good.length; length++) {
    assert.throws(() => readInit(good.subarray(0, length)), RangeError, `${length}`);
  }
  let seed = 99;
  const random = (n) => (seed = (seed * 1103515245 + 12345) % 2147483648) % n;
  for (let i = 0; i < 5000; i++) {
    const mangled = Buffer.from(good);
    for (let k = 0; k < 3; k++) mangled[random(mangled.length)] = random(256);
    try {
      readInit(mangled);
    } catch (error) {
      assert.ok(error instanceof RangeError, error.stack);
    }
    decodeTime(mangled);
  }
  assert.throws(() => readInit(init(visual('encv', box('sinf', zeros(8))))), /encv/);
});
