import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Timeline, isEventName, parseTime } from '../web/core/timeline.js';

const START = Date.parse('2026-11-23T20:00:00Z');
const event = (over = {}) => new Timeline({
  start: '2026-11-23T20:00:00Z', end: null, first_number: 1, segment: { ticks: 2, timescale: 1 }, media_time: 'unix',
  allowance_ms: 500, hold_ms: 2000, budget_ms: 2000, dvr_seconds: 14400, lateness_ms: {}, ...over,
});

test('RFC 3339 times, to the nanosecond', () => {
  assert.equal(parseTime('1970-01-01T00:00:01Z'), 1_000_000_000n);
  assert.equal(parseTime('2026-11-23T20:00:00.123456789Z'), BigInt(START) * 1_000_000n + 123_456_789n);
  assert.equal(parseTime('2026-11-23T22:00:00.5+02:00'), BigInt(START) * 1_000_000n + 500_000_000n);
  for (const bad of ['', 'now', '2026-11-23', '2026-11-23T20:00Z', '2026-13-23T20:00:00Z', 5]) {
    assert.throws(() => parseTime(bad), RangeError, String(bad));
  }
});

test('names', () => {
  for (const good of ['demo/live', 'a/b', '0-9/x-1']) assert.ok(isEventName(good), good);
  for (const bad of ['', 'demo', 'demo/', '/live', 'Demo/live', '-x/y', 'a/b/c', 'a b/c', `a/${'x'.repeat(64)}`]) assert.ok(!isEventName(bad), bad);
});

test('the places of a segment follow each other', () => {
  const t = event();
  // Segment 1 lasts from 20:00:00 to 20:00:02 and is expected at 20:00:02.5.
  const at = (ms) => t.placeOf(1, START + ms);
  assert.equal(t.expectedMS(1), START + 2500);
  assert.equal(at(499), 'early');
  assert.equal(at(500), 'due');
  assert.equal(at(4500), 'due');
  assert.equal(at(4501), 'past');
  assert.equal(at(2000 + 14_400_000), 'past');
  assert.equal(at(2001 + 14_400_000), 'gone');
  assert.equal(t.placeOf(0, START), 'never');
});

test('observed lateness moves what is expected of its rendition only', () => {
  const t = event({ lateness_ms: { v720: 700 } });
  assert.equal(t.expectedMS(1, 'v720'), START + 3200);
  assert.equal(t.expectedMS(1, 'v360'), START + 2500);
  assert.equal(t.dueMS(1, 'v720'), START + 1200);
});

test('the last segment holds the last instant before the end', () => {
  assert.equal(event().last, null);
  assert.equal(event({ end: '2026-11-23T20:00:02Z' }).last, 1);
  assert.equal(event({ end: '2026-11-23T20:00:02.000000001Z' }).last, 2);
  assert.equal(event({ end: '2026-11-23T20:00:11Z', first_number: 7 }).last, 12);
  const t = event({ end: '2026-11-23T20:00:10Z' });
  assert.equal(t.endPosition, 10);
  assert.equal(t.placeOf(6, START + 12_000), 'never');
  assert.ok(!t.finished(START + 12_500));
  assert.ok(t.finished(START + 12_501));
});

test('29.97 and 59.94 frames a second do not drift in a year', () => {
  const t = event({ segment: { ticks: 2002, timescale: 1000 }, first_number: 5 });
  const k = 15_750_000; // about a year
  assert.equal(t.positionOf(5 + k), k * 2002 / 1000);
  assert.equal(t.endMS(5 + k - 1), START + k * 2002);
  const n = event({ segment: { ticks: 1001 * 120, timescale: 60000 } });
  assert.equal(n.positionOf(1 + 500), 1001);
});

test('numberAt is the inverse of positionOf', () => {
  for (const segment of [{ ticks: 2, timescale: 1 }, { ticks: 2002, timescale: 1000 }, { ticks: 1, timescale: 3 }, { ticks: 96096, timescale: 50000 }]) {
    const t = event({ segment, first_number: 42 });
    for (const k of [0, 1, 2, 3, 7, 999, 123_456, 9_999_999]) {
      const n = 42 + k;
      assert.equal(t.numberAt(t.positionOf(n)), n, `start of ${n}`);
      assert.equal(t.numberAt((t.positionOf(n) + t.positionOf(n + 1)) / 2), n, `middle of ${n}`);
      assert.equal(t.numberAt(t.positionOf(n + 1) - 1e-6), n, `end of ${n}`);
    }
    assert.equal(t.numberAt(-0.5), 42 - Math.ceil(0.5 / t.segment));
  }
});

test('the timestamp offset is exact to the microsecond', () => {
  assert.equal(event({ media_time: 'start' }).timestampOffset, 0);
  assert.equal(event().timestampOffset, -START / 1000);
  const odd = event({ start: '2026-11-23T20:00:00.123456Z' });
  assert.ok(Math.abs(odd.timestampOffset + START / 1000 + 0.123456) < 1e-6);
});

test('decode times of segments, in ticks', () => {
  assert.equal(event().decodeTimeOf(1, 15360), (START / 1000) * 15360);
  assert.equal(event().decodeTimeOf(3, 15360), (START / 1000 + 4) * 15360);
  assert.equal(event({ media_time: 'start', segment: { ticks: 2002, timescale: 1000 } }).decodeTimeOf(4, 30000), 3 * 60060);
  // 44.1 kHz does not divide 2.002 s: rounded down, never accumulated.
  assert.equal(event({ media_time: 'start', segment: { ticks: 2002, timescale: 1000 } }).decodeTimeOf(12, 44100), Math.floor(11 * 2.002 * 44100));
});

test('the DVR window begins where the server still answers', () => {
  const t = event({ dvr_seconds: 60 });
  assert.equal(t.oldestPosition(START + 30_000), 0);
  const now = START + 600_000;
  const oldest = t.oldestPosition(now);
  assert.equal(t.placeOf(t.numberAt(oldest), now), 'past');
  assert.ok(oldest - (600 - 60) <= 2 * t.segment);
  assert.equal(t.placeOf(t.numberAt(oldest), now + 2000), 'past');
});

test('instants and positions', () => {
  const t = event();
  assert.equal(t.positionAt(START + 1500), 1.5);
  assert.equal(t.instantOf(1.5), START + 1500);
});

test('defaults, and what cannot be', () => {
  const t = new Timeline({ start: '2026-11-23T20:00:00Z' });
  assert.deepEqual([t.first, t.segment, t.allowanceMS, t.holdMS, t.budgetMS, t.dvrMS], [1, 2, 500, 2000, 2000, 14_400_000]);
  assert.throws(() => event({ segment: { ticks: 0, timescale: 1 } }), RangeError);
  assert.throws(() => event({ start: undefined }), RangeError);
});
