import assert from 'node:assert/strict';
import { test } from 'node:test';
import { healthOf, lostFrom } from '../web/core/health.js';

const fine = { connected: true, trouble: null, stands: false, lost: 0, ahead: 0, defects: [] };

test('nothing says fine while viewers see nothing', () => {
  assert.deepEqual(healthOf(fine), { tone: 'good', words: 'Connected' });
  for (const [change, tone, words] of [
    [{ connected: false }, 'wait', /Connecting/],
    [{ trouble: { what: 'x' } }, 'bad', /^Reconnecting/],
    [{ trouble: { what: 'x' }, stands: true, lost: 2, ahead: 2 }, 'bad', /No picture.*reconnecting/],
    [{ stands: true }, 'bad', /stands/],
    [{ stands: true, lost: 1, ahead: 1 }, 'bad', /^No picture: 1 segment lost$/],
    [{ stands: true, lost: 4, ahead: 4 }, 'bad', /^No picture: 4 segments lost$/],
    [{ ahead: 2 }, 'warn', /^2 segments lost$/],
    [{ defects: [{ kind: 'short' }] }, 'warn', /Defects/],
    [{ defects: [{ kind: 'score 40' }, { kind: 'silent', ms: 2000 }, { kind: 'black', ms: 2000 }] }, 'warn', /^The picture is black$/],
    [{ defects: [{ kind: 'silent', ms: 2000 }] }, 'warn', /no sound/],
  ]) {
    const got = healthOf({ ...fine, ...change });
    assert.equal(got.tone, tone, JSON.stringify(change));
    assert.match(got.words, words);
  }
});

test('lost segments are counted from the playhead on', () => {
  const of = (...lost) => lostFrom(10, 15, (n) => lost.includes(n));
  assert.deepEqual(of(), { lost: 0, ahead: 0 });
  assert.deepEqual(of(9, 16), { lost: 0, ahead: 0 });
  assert.deepEqual(of(10, 11, 13), { lost: 2, ahead: 3 });
  assert.deepEqual(of(12), { lost: 0, ahead: 1 });
  assert.deepEqual(of(10, 11, 12, 13, 14, 15), { lost: 6, ahead: 6 });
});
