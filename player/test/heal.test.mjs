import assert from 'node:assert/strict';
import { test } from 'node:test';
import { heal } from '../web/core/heal.js';
import { boxes, decodeTime, view } from '../web/core/mp4.js';

const u32 = (n) => [(n >>> 24) & 255, (n >>> 16) & 255, (n >>> 8) & 255, n & 255];
const u64 = (n) => [...u32(Math.floor(n / 2 ** 32)), ...u32(n % 2 ** 32)];
const cat = (...parts) => Buffer.concat(parts.map((p) => Buffer.from(p)));
const box = (type, ...parts) => {
  const body = cat(...parts);
  return cat(u32(8 + body.length), Buffer.from(type), body);
};
const none = { duration: 0, size: 0, flags: 0 };

// A fragment of samples that begins at a decode time; each sample is its
// number in one byte, repeated as often as the number.
function fragment(at, numbers, { duration = 1000, plain = false, extra = [] } = {}) {
  const flags = plain ? [0, 0, 0x02, 0x05] : [0, 0, 0x0f, 0x01];
  const rows = numbers.map((n, i) => (plain ? u32(n) : [...u32(duration), ...u32(n), ...u32(i ? 0x01010000 : 0x02000000), ...u32(0)]));
  const trun = (offset) => box('trun', flags, u32(numbers.length), u32(offset), plain ? u32(0x02000000) : [], ...rows);
  const tfhd = plain ? box('tfhd', [0, 2, 0, 0x28], u32(1), u32(duration), u32(0x01010000)) : box('tfhd', [0, 2, 0, 0], u32(1));
  const moof = (offset) => box('moof', box('mfhd', u32(0), u32(7)), box('traf', tfhd, box('tfdt', [1, 0, 0, 0], u64(at)), trun(offset), ...extra));
  const offset = moof(0).length + 8;
  return cat(moof(offset), box('mdat', ...numbers.map((n) => Array(n).fill(n))));
}

// What a healed segment plays: [[decode time, duration, first byte], ...].
function played(bytes) {
  const v = view(bytes);
  const all = [...boxes(v)];
  assert.deepEqual(all.map((b) => b.type), ['moof', 'mdat']);
  const traf = [...boxes(v, all[0].body, all[0].end)].find((b) => b.type === 'traf');
  const trun = [...boxes(v, traf.body, traf.end)].find((b) => b.type === 'trun');
  let at = Number(decodeTime(bytes));
  let offset = v.getInt32(trun.body + 8);
  const out = [];
  for (let i = 0; i < v.getUint32(trun.body + 4); i++) {
    const p = trun.body + 12 + i * 16;
    out.push([at, v.getUint32(p), v.getUint8(offset), v.getUint32(p + 8)]);
    at += v.getUint32(p);
    offset += v.getUint32(p + 4);
  }
  assert.equal(offset, bytes.byteLength);
  return out;
}

const FAR = 53_862_938_040_000;
const video = { type: 'video', init: { codecs: 'avc1.64001f', channels: 0, defaults: none }, from: FAR, to: FAR + 6000 };

test('video: the frame before a hole is held', () => {
  const segment = cat(box('styp', [1, 2, 3, 4]), fragment(FAR, [1, 2]), fragment(FAR + 4000, [5, 6]));
  const healed = heal(segment, video);
  assert.equal(healed.filledTicks, 2000);
  assert.deepEqual(played(healed.bytes).map((s) => s.slice(0, 3)), [[FAR, 1000, 1], [FAR + 1000, 3000, 2], [FAR + 4000, 1000, 5], [FAR + 5000, 1000, 6]]);
  assert.deepEqual(played(healed.bytes).map((s) => s[3]), [0x02000000, 0x01010000, 0x02000000, 0x01010000]);
});

test('video: a short end and a late beginning are filled to the slot', () => {
  assert.deepEqual(played(heal(fragment(FAR, [1, 2, 3]), video).bytes).map((s) => s.slice(0, 3)), [[FAR, 1000, 1], [FAR + 1000, 1000, 2], [FAR + 2000, 4000, 3]]);
  assert.deepEqual(played(heal(fragment(FAR + 3000, [4, 5, 6]), video).bytes).map((s) => s.slice(0, 3)), [[FAR, 4000, 4], [FAR + 4000, 1000, 5], [FAR + 5000, 1000, 6]]);
});

test('defaults of the fragment and of the init segment', () => {
  const plain = cat(fragment(FAR, [1, 2], { plain: true }), fragment(FAR + 4000, [5, 6], { plain: true }));
  const healed = heal(plain, video);
  assert.deepEqual(played(healed.bytes).map((s) => [s[1], s[3]]), [[1000, 0x02000000], [3000, 0x01010000], [1000, 0x02000000], [1000, 0x01010000]]);
});

test('audio: a hole is silence, and what silence is not known is a repetition', () => {
  const segment = cat(fragment(0, [9, 9], { duration: 1024 }), fragment(5 * 1024, [8], { duration: 1024 }));
  const slot = { type: 'audio', from: 0, to: 6 * 1024 };
  const stereo = heal(segment, { ...slot, init: { codecs: 'mp4a.40.2', channels: 2, defaults: none } });
  assert.equal(stereo.filledTicks, 3 * 1024);
  assert.deepEqual(played(stereo.bytes).map((s) => s.slice(0, 3)), [0, 1, 2, 3, 4, 5].map((i) => [i * 1024, 1024, i < 2 ? 9 : i < 5 ? 0x21 : 8]));
  const other = heal(segment, { ...slot, init: { codecs: 'opus', channels: 2, defaults: none } });
  assert.deepEqual(played(other.bytes).map((s) => s[2]), [9, 9, 9, 9, 9, 8]);
  const late = heal(fragment(2 * 1024, [7, 7, 7, 7], { duration: 1024 }), { ...slot, init: { codecs: 'mp4a.40.2', channels: 1, defaults: none } });
  assert.deepEqual(played(late.bytes).map((s) => [s[0], s[2]]), [[0, 1], [1024, 1], [2048, 7], [3072, 7], [4096, 7], [5120, 7]]);
});

test('what is whole, or cannot be rebuilt, is left alone', () => {
  const whole = fragment(FAR, [1, 2, 3, 4, 5, 6]);
  assert.equal(heal(whole, video), null);
  assert.equal(heal(fragment(FAR - 1000, [1, 2, 3, 4, 5, 6]), video), null, 'a boundary may be one frame off');
  assert.equal(heal(fragment(FAR, [1, 2], { extra: [box('senc', u32(0))] }), video), null, 'encrypted');
  assert.equal(heal(fragment(0, [1, 2]), video), null, 'of another time');
  assert.equal(heal(Buffer.from('nothing'), video), null);
  assert.equal(heal(fragment(FAR, []), video), null);
});

test('truncated and mangled segments are left alone, never a hang', () => {
  const good = cat(fragment(FAR, [1, 2]), fragment(FAR + 4000, [5, 6]));
  for (let length = 0; length < good.length; length++) heal(good.subarray(0, length), video);
  let seed = 7;
  const random = (n) => (seed = (seed * 1103515245 + 12345) % 2147483648) % n;
  for (let i = 0; i < 5000; i++) {
    const mangled = Buffer.from(good);
    for (let k = 0; k < 3; k++) mangled[random(mangled.length)] = random(256);
    const healed = heal(mangled, video);
    assert.ok(!healed || healed.bytes.byteLength < 100_000);
  }
});
