import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bits, clock, duration, ms, renditionName, spoken } from '../web/core/format.js';
import { Journal } from '../web/core/journal.js';

test('numbers for people', () => {
  assert.deepEqual([0, 95_000, 3.14e6, 250e6, 2.5e9].map(bits), ['–', '95 kb/s', '3.1 Mb/s', '250 Mb/s', '2.5 Gb/s']);
  assert.deepEqual([null, 3.14159, 412.4, 1834, 12_345].map(ms), ['–', '3.1 ms', '412 ms', '1.83 s', '12.3 s']);
});

test('times for people', () => {
  assert.deepEqual([-1, 7.9, 754, 3723].map(duration), ['0:00', '0:07', '12:34', '1:02:03']);
  assert.deepEqual([0, 1, 61, 7200, 3723].map(spoken), ['0 seconds', '1 second', '1 minute 1 second', '2 hours', '1 hour 2 minutes 3 seconds']);
  const at = Date.parse('2026-11-23T20:00:07.123Z');
  assert.equal(clock(at), '20:00:07');
  assert.equal(clock(NaN), '--:--:--');
});

test('renditions', () => {
  assert.equal(renditionName({ type: 'video', name: 'v1', height: 720, frame_rate: '30' }), '720p');
  assert.equal(renditionName({ type: 'video', name: 'v1', height: 1080, frame_rate: '60000/1001' }), '1080p60');
  assert.equal(renditionName({ type: 'video', name: 'v1' }), 'v1');
  assert.equal(renditionName({ type: 'audio', name: 'a1', language: 'en' }), 'en (a1)');
});

test('the journal is bounded and tells its listeners', () => {
  const journal = new Journal(() => 5);
  const heard = [];
  journal.listeners.add((e) => heard.push(e.text));
  for (let i = 0; i < 500; i++) journal.add(i % 2 ? 'gap' : 'switch', 'info', `${i}`);
  assert.equal(heard.length, 500);
  assert.equal(journal.entries.length, 400);
  assert.equal(journal.entries.at(-1).text, '499');
});
