import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Clock } from '../web/core/clock.js';
import { aheadOf, intersect, nextAfter, rangeAt } from '../web/core/gaps.js';
import { choose, shouldAbandon } from '../web/core/ladder.js';
import { Notices, describe, phaseOf } from '../web/core/notices.js';
import { autoTarget, farOff, lowestTarget, pace } from '../web/core/pace.js';
import { Records, Window } from '../web/core/records.js';
import { Stalls } from '../web/core/stalls.js';
import { Throughput } from '../web/core/throughput.js';

// ---- clock

function clockWith(exchanges) {
  let now = 1000;
  const clock = new Clock({
    monotonic: () => now,
    wall: () => 5_000_000,
    fetchTime: async () => {
      const { there, back, server } = exchanges.shift();
      now += there;
      const text = typeof server === 'string' ? server : new Date(server + now).toISOString();
      now += back;
      return text;
    },
  });
  return { clock, pass: (ms) => (now += ms) };
}

test('the clock believes the quickest exchange', async () => {
  const offset = 1_795_000_000_000;
  const { clock, pass } = clockWith([
    { there: 180, back: 20, server: offset },
    { there: 5, back: 5, server: offset },
    { there: 300, back: 0, server: offset },
  ]);
  assert.equal(clock.now(), 5_000_000);
  assert.equal(clock.synchronised, false);
  assert.equal(clock.errorMS, null);
  await clock.sync();
  // Half of the round trip is what it may be off.
  assert.equal(clock.offset - offset, 80);
  assert.ok(Math.abs(clock.offset - offset) <= clock.errorMS);
  await clock.sync();
  assert.equal(clock.offset, offset);
  await clock.sync();
  assert.equal(clock.offset, offset);
  assert.equal(clock.errorMS, 5);
  const before = clock.now();
  pass(1234);
  assert.equal(clock.now() - before, 1234);
});

test('the clock follows a jump at once, and refuses nonsense', async () => {
  const { clock } = clockWith([
    { there: 1, back: 1, server: 1_795_000_000_000 },
    { there: 40, back: 40, server: 1_795_000_060_000 },
    { there: 1, back: 1, server: 'teatime' },
  ]);
  await clock.sync();
  await clock.sync();
  assert.ok(Math.abs(clock.offset - 1_795_000_060_000) <= 40);
  await assert.rejects(clock.sync(), RangeError);
  assert.ok(Math.abs(clock.offset - 1_795_000_060_000) <= 40);
});

// ---- throughput and the ladder

test('throughput: a drop is felt at once, a recovery has to last', () => {
  const t = new Throughput(5e6);
  assert.equal(t.estimate, 5e6);
  t.add(1000, 1);
  assert.equal(t.estimate, 5e6, 'too small to say anything');
  for (let i = 0; i < 20; i++) t.add(1_000_000, 1000);
  assert.ok(Math.abs(t.estimate - 8e6) < 1e5);
  t.add(250_000, 2000);
  assert.ok(t.estimate < 2e6, `${t.estimate}`);
  t.add(1_000_000, 1000);
  assert.ok(t.estimate < 4e6, 'one good segment is no recovery');
  for (let i = 0; i < 8; i++) t.add(1_000_000, 1000);
  assert.ok(t.estimate > 4e6, 'nine are');
  for (let i = 0; i < 30; i++) t.add(1_000_000, 1000);
  assert.ok(t.estimate > 7.5e6);
  // From a network without limits to a poor one: one segment tells.
  for (let i = 0; i < 30; i++) t.add(1_000_000, 2);
  t.add(500_000, 2000);
  assert.ok(t.estimate < 5e6, `${t.estimate}`);
  t.add(1_000_000, 0);
  assert.ok(Number.isFinite(t.estimate));
});

const ladder = [
  { name: 'v1080', bandwidth: 6e6 },
  { name: 'v360', bandwidth: 9e5 },
  { name: 'v720', bandwidth: 3e6 },
];

test('the ladder: the best that the network and the time allow', () => {
  const pick = (over) => choose({ renditions: ladder, current: null, estimate: 1e8, segment: 2, slack: 2, ...over }).rendition.name;
  assert.equal(pick({}), 'v1080');
  assert.equal(pick({ estimate: 5e6, slack: 10 }), 'v720');
  assert.equal(pick({ estimate: 1e5 }), 'v360', 'the lowest, however slow');
  // 3 Mb/s for 2 s takes a second at 6 Mb/s: too long for a slack of one.
  assert.equal(pick({ estimate: 6e6, slack: 1 }), 'v360');
  assert.equal(pick({ estimate: 6e6, slack: 1.5 }), 'v720');
  // Staying needs less than climbing.
  assert.equal(pick({ estimate: 3.5e6, current: 'v720', slack: 10 }), 'v720');
  assert.equal(pick({ estimate: 3.5e6, current: 'v360', slack: 10 }), 'v360');
  assert.equal(pick({ estimate: 3.2e6, current: 'v720', slack: 10 }), 'v360');
});

test('the ladder does not oscillate at a constant network', () => {
  for (let estimate = 1e6; estimate < 2e7; estimate *= 1.03) {
    let current = null;
    const names = [];
    for (let i = 0; i < 6; i++) {
      current = choose({ renditions: ladder, current, estimate, segment: 2, slack: 2 }).rendition.name;
      names.push(current);
    }
    assert.equal(new Set(names).size, 1, `${estimate}: ${names}`);
  }
});

test('a download is given up only when that helps', () => {
  const slow = { received: 100_000, total: 750_000, elapsed: 1, ahead: 1, lowerBytes: 225_000 };
  assert.equal(shouldAbandon(slow), true);
  assert.equal(shouldAbandon({ ...slow, ahead: 10 }), false, 'there is time');
  assert.equal(shouldAbandon({ ...slow, received: 600_000 }), false, 'it is nearly there');
  assert.equal(shouldAbandon({ ...slow, elapsed: 0.2 }), false, 'too early to say');
  assert.equal(shouldAbandon({ ...slow, total: 0 }), false, 'the size is not known');
});

// ---- pace

test('pace: calm at the target, gentle towards it', () => {
  const at = (latency, rate = 1, ahead = 2) => pace({ latency, target: 3, ahead, rate });
  assert.equal(at(3), 1);
  assert.equal(at(3.08), 1, 'within the tolerance');
  assert.ok(at(3.08, 1.02) > 1, 'a correction goes on');
  assert.equal(at(3.02, 1.02), 1);
  assert.equal(at(2.95, 1.02), 1, 'it overshot: calm, not the other way');
  assert.ok(at(3.5) > 1.01 && at(3.5) <= 1.1);
  assert.ok(at(2.5) < 0.99 && at(2.5) >= 0.9);
  assert.equal(at(3.5, 1, 0.2), 1, 'never faster into an empty buffer');
  assert.ok(at(2.5, 1, 0.2) < 1, 'but slower');
});

test('pace brings the latency to its target and stays there', () => {
  for (const from of [2.2, 2.8, 3.4, 5.2]) {
    let latency = from;
    let rate = 1;
    const rates = [];
    for (let i = 0; i < 1200; i++) {
      rate = pace({ latency, target: 3, ahead: 2, rate });
      latency -= (rate - 1) * 0.1;
      rates.push(rate);
    }
    assert.ok(Math.abs(latency - 3) <= 0.1, `from ${from} to ${latency}`);
    assert.deepEqual([...new Set(rates.slice(-300))], [1]);
  }
});

test('far off is worth a jump', () => {
  assert.equal(farOff({ latency: 5, target: 3, segment: 2 }), false);
  assert.equal(farOff({ latency: 6, target: 3, segment: 2 }), true);
  assert.equal(farOff({ latency: 3, target: 8, segment: 2 }), true);
  assert.equal(farOff({ latency: 9, target: 3, segment: 6 }), false);
});

test('the automatic target is a segment, its delivery, and a margin', () => {
  assert.equal(autoTarget({ segment: 2, delays: [], expected: 0.5 }), 3);
  assert.equal(autoTarget({ segment: 2, delays: [0.1, 0.2], expected: 0.5 }), 3, 'never less than what was promised');
  assert.equal(autoTarget({ segment: 2, delays: [0.1, 1.31], expected: 0.5 }), 3.9);
  assert.equal(autoTarget({ segment: 2, delays: [100], expected: 0.5 }), 12);
  assert.ok(lowestTarget(2) < 3 && lowestTarget(2) > 2);
});

// ---- holes

test('ranges', () => {
  const video = [[0, 4], [6, 10]];
  const audio = [[0.02, 4.01], [5.99, 8], [9, 10]];
  assert.deepEqual(intersect([video, audio]), [[0.02, 4], [6, 8], [9, 10]]);
  assert.deepEqual(intersect([video]), video);
  assert.deepEqual(rangeAt(video, 3), [0, 4]);
  assert.deepEqual(rangeAt(video, 5.95), [6, 10], 'a hair before it counts');
  assert.equal(rangeAt(video, 4), null);
  assert.equal(aheadOf(video, 1), 3);
  assert.equal(aheadOf(video, 5), 0);
  assert.equal(aheadOf(video, 5.98), 0, 'a playhead in a hole cannot play, however near the end of it');
  assert.equal(aheadOf([[0, 4], [4.001, 6]], 1), 5);
  assert.equal(nextAfter(video, 4), 6);
  assert.equal(nextAfter([[0, 4], [4.02, 6]], 4), 4.02);
  assert.equal(nextAfter([[0, 4], [5, 5.1], [6, 8]], 4), 6, 'not worth a seek');
  assert.equal(nextAfter(video, 6), null);
});

// ---- stalls

test('a stall counts from 300 ms, with its whole duration', () => {
  const s = new Stalls();
  let now = 0;
  const tick = (position) => s.tick((now += 100), position, true);
  assert.equal(tick(1), null);
  assert.equal(tick(1.1), null);
  assert.equal(tick(1.1), null);
  assert.equal(tick(1.2), null, '100 ms are nothing');
  tick(1.2);
  assert.equal(tick(1.2), null);
  assert.equal(tick(1.2), 'began');
  assert.equal(s.count, 1);
  assert.ok(s.stalled);
  assert.equal(s.totalMS, 300);
  tick(1.2);
  assert.equal(s.totalMS, 400);
  assert.deepEqual(tick(1.3), { endedMS: 500 });
  assert.equal(s.totalMS, 500);
  assert.ok(!s.stalled);
});

test('what a viewer asked for is no stall', () => {
  const s = new Stalls();
  for (let now = 0; now < 2000; now += 100) assert.equal(s.tick(now, 1, false), null);
  assert.equal(s.count, 0);
  // A pause in the middle of a stall ends it.
  s.tick(3000, 1, true);
  assert.equal(s.tick(3300, 1, true), 'began');
  assert.deepEqual(s.tick(3400, 1, false), { endedMS: 400 });
  assert.equal(s.tick(9000, 1, true), null);
  assert.equal(s.totalMS, 400);
});

test('a stall that the page was too busy to see counts', () => {
  const s = new Stalls();
  s.tick(0, 10, true);
  s.tick(100, 10.1, true);
  s.tick(7100, 12.6, true);
  assert.deepEqual([s.count, s.totalMS], [1, 4500]);
  s.tick(9100, 14.5, true);
  s.tick(9200, 16, true);
  assert.equal(s.count, 1, 'a hidden page that looks rarely, and a step forward, are none');
});

test('the wait at a gap is the gap, as long as it is no longer', () => {
  const wait = (ms, explained = 10_000) => {
    const s = new Stalls();
    for (let now = 0; now <= ms; now += 100) s.tick(now, 1, true, explained);
    return s;
  };
  let s = wait(1100);
  assert.ok(s.stalled, 'the page may say that it waits');
  assert.equal(s.jumped(1100, 2), 1100);
  assert.deepEqual([s.count, s.totalMS, s.gapMS], [0, 0, 1100]);

  s = wait(4000);
  s.jumped(4000, 2);
  assert.deepEqual([s.count, s.totalMS, s.gapMS], [1, 4000, 0], 'longer than the gap: the viewer fell behind');

  s = wait(1100);
  assert.deepEqual(s.tick(1200, 1.1, true, 10_000), { endedMS: 1200 });
  assert.deepEqual([s.count, s.totalMS, s.gapMS], [1, 1200, 0], 'it came after all');

  s = wait(1100, 0);
  s.jumped(1100, 2);
  assert.deepEqual([s.count, s.totalMS, s.gapMS], [1, 1100, 0], 'a stall stays one');

  s = wait(5000, 4000);
  assert.deepEqual([s.count, s.totalMS], [1, 5000], 'too long for any gap: it counts while it lasts');

  s = wait(200);
  assert.equal(s.jumped(200, 2), 200);
  assert.deepEqual([s.count, s.gapMS], [0, 0]);
});

// ---- notifications

const notice = (over) => ({ type: 'ad-break', id: 'b1', from: 10, to: 12, data: null, ...over });

test('the highest sequence wins', () => {
  const n = new Notices();
  assert.equal(n.set(null), false);
  assert.equal(n.set({ sequence: 3, notifications: [notice()] }), true);
  assert.equal(n.set({ sequence: 3, notifications: [] }), false);
  assert.equal(n.set({ sequence: 2, notifications: [] }), false);
  assert.equal(n.current.length, 1);
  assert.equal(n.set({ sequence: 4, notifications: [] }), true);
  assert.equal(n.current.length, 0);
  n.reset();
  assert.equal(n.set({ sequence: 1, notifications: [notice()] }), true);
});

test('notifications begin and end for a playhead, not for the live edge', () => {
  const n = new Notices();
  n.set({ sequence: 1, notifications: [notice(), notice({ id: 'old', from: 1, to: 2 }), notice({ type: 'score', id: 's', from: 11, to: null })] });
  const at = (number) => n.moveTo(number).map((c) => `${c.notice.id} ${c.phase}`);
  assert.deepEqual(at(9), ['b1 coming', 's coming']);
  assert.deepEqual(at(9), []);
  assert.deepEqual(at(10), ['b1 active']);
  assert.deepEqual(at(12), ['s active']);
  assert.deepEqual(n.active(12).map((x) => x.id), ['b1', 's']);
  assert.deepEqual(at(13), ['b1 over']);
  n.set({ sequence: 2, notifications: [] });
  assert.deepEqual(at(14), ['s withdrawn']);
  assert.deepEqual(at(15), []);
  assert.equal(phaseOf(notice({ to: null }), 1e9), 'active');
});

test('what a notification says', () => {
  const say = (text) => describe(notice({ data: new TextEncoder().encode(text) }));
  assert.equal(describe(notice()), '');
  assert.equal(say('{}'), '');
  assert.equal(say('{"title":"Back soon","x":1}'), 'Back soon');
  assert.equal(say('{"home":2}'), '{"home":2}');
  assert.equal(say('"2 : 1"'), '2 : 1');
  assert.equal(say('plain words'), 'plain words');
  assert.equal(describe(notice({ data: new Uint8Array([255, 254]) })), '2 bytes');
});

// ---- records

test('records are bounded, windows too', () => {
  const r = new Records();
  for (let n = 1; n <= 2000; n++) r.open('video', n).pipeline = 'a';
  assert.equal(r.get('video', 1), null);
  assert.equal(r.get('video', 2000).number, 2000);
  assert.equal(r.open('video', 2000).pipeline, 'a', 'the same record again');
  assert.equal(r.get('audio', 2000), null);
  assert.equal(r.between('video', 1990, 2005).length, 11);
  const w = new Window(3);
  assert.deepEqual([w.last, w.least, w.median], [null, null, null]);
  for (const v of [9, 1, 5, 3]) w.add(v);
  assert.deepEqual([w.last, w.least, w.median], [3, 1, 3]);
});
