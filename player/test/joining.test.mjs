import assert from 'node:assert/strict';
import { test } from 'node:test';
import { backDelay, joinDelay } from '../web/core/joining.js';

test('who is there when an event begins waits for the first segment and a part of the window', () => {
  const at = (now, random, joinMS = 6000) => joinDelay({ joinMS, firstMS: 100_000, now }, () => random);
  assert.equal(at(90_000, 0), 10_000);
  assert.equal(at(90_000, 0.5), 13_000);
  assert.equal(at(100_000, 0.25), 1500);
  assert.equal(at(105_999, 0.5), 3000);
  assert.equal(at(106_000, 0.5), 0);
  assert.equal(at(90_000, 0.5, 0), 0);
  assert.equal(at(90_000, 0.5, null), 0);
});

test('who lost the edge comes back within a segment, and then within the window', () => {
  const at = (failingMS, random, joinMS = 6000) => backDelay({ joinMS, segmentMS: 2000, failingMS, least: 250 }, () => random);
  assert.equal(at(0, 0.5), 1000);
  assert.equal(at(0, 0.01), 250);
  assert.equal(at(2000, 0.5), 3000);
  assert.equal(at(60_000, 0.99), 5940);
  assert.equal(at(60_000, 0.99, 0), 250);
  assert.equal(at(0, 0.5, 1000), 500);
});
