import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as headers from '../web/core/headers.js';

const of = (name, value) => new Headers(value === null ? {} : { [name]: value });

test('Live-Pipeline', () => {
  assert.deepEqual(headers.pipelineOf(of('Live-Pipeline', 'a;region=us-east-1')), { name: 'a', region: 'us-east-1' });
  assert.deepEqual(headers.pipelineOf(of('Live-Pipeline', 'b')), { name: 'b', region: '' });
  assert.deepEqual(headers.pipelineOf(of('Live-Pipeline', '"2nd"')), { name: '2nd', region: '' });
  for (const bad of [null, '', '7', 'a;', 'a, b']) assert.equal(headers.pipelineOf(of('Live-Pipeline', bad)), null, bad);
});

test('Live-Defects', () => {
  assert.deepEqual(headers.defectsOf(of('Live-Defects', 'short;ms=400, missing-samples;n=12')), [
    { kind: 'short', ms: 400, samples: 0 },
    { kind: 'missing-samples', ms: 0, samples: 12 },
  ]);
  for (const clean of [null, '', 'short;ms', 'short;;']) assert.ok(Array.isArray(headers.defectsOf(of('Live-Defects', clean))));
  assert.deepEqual(headers.defectsOf(of('Live-Defects', 'short;;')), []);
  assert.deepEqual(headers.defectsOf(of('Live-Defects', 'late, open-gop, off-grid;ms=20, gap')), [{ kind: 'gap', ms: 0, samples: 0 }]);
});

test('Live-Quality', () => {
  assert.deepEqual(headers.qualityOf(of('Live-Quality', 'black;ms=2000, silent;ms=0, score=40')), [
    { kind: 'black', ms: 2000, samples: 0 },
    { kind: 'score 40', ms: 0, samples: 0 },
  ]);
  for (const fine of [null, '', 'score=100', 'black', 'black=3', 'score;;', '(']) assert.deepEqual(headers.qualityOf(of('Live-Quality', fine)), []);
});

test('Live-Notifications', () => {
  const { sequence, notifications } = headers.notificationsOf(of('Live-Notifications', '17, ad-break;id="b1";from=1042;to=1057;data=:e30=:, score;id=s;from=3'));
  assert.equal(sequence, 17);
  assert.deepEqual(notifications, [
    { type: 'ad-break', id: 'b1', from: 1042, to: 1057, data: new Uint8Array([123, 125]) },
    { type: 'score', id: 's', from: 3, to: null, data: null },
  ]);
  assert.deepEqual(headers.notificationsOf(of('Live-Notifications', '18')), { sequence: 18, notifications: [] });
  for (const bad of [null, '', 'ad;id="x";from=1', '1.5, a;id="x";from=1', '17,']) {
    assert.equal(headers.notificationsOf(of('Live-Notifications', bad)), null, bad);
  }
  // A member without its id or start says nothing; the others stand.
  assert.equal(headers.notificationsOf(of('Live-Notifications', '1, a;from=1, b;id="x", c;id="y";from=2')).notifications.length, 1);
});

test('integers and times', () => {
  assert.equal(headers.integerOf(of('Live-Edge', '1042'), 'Live-Edge'), 1042);
  assert.equal(headers.integerOf(of('Live-Edge', '1042.5'), 'Live-Edge'), null);
  assert.equal(headers.integerOf(of('X', '1'), 'Live-Edge'), null);
  assert.equal(headers.publishedOf(of('Live-Published', '1795405280.123')), 1795405280123);
  assert.equal(headers.publishedOf(of('Live-Published', 'now')), null);
});

test('freshness: the milliseconds win, then seconds, then Retry-After', () => {
  const cases = [
    [{ 'Cache-Control': 'max-age=0, max-age-ms=1834' }, 1834],
    [{ 'Cache-Control': 'public, Max-Age=2' }, 2000],
    [{ 'Cache-Control': 'max-age=3, max-age-ms=3250', Age: '2' }, 1250],
    [{ 'Cache-Control': 'max-age=3', Age: '7' }, 0],
    [{ 'Cache-Control': 'no-store', 'Retry-After': '5' }, 5000],
    [{ 'Retry-After': 'Wed, 21 Oct 2026 07:28:00 GMT' }, null],
    [{ 'Cache-Control': 'max-age=x' }, null],
    [{}, null],
  ];
  for (const [h, want] of cases) assert.equal(headers.freshnessOf(new Headers(h)), want, JSON.stringify(h));
});

test('Cache-Status and Server-Timing', () => {
  assert.deepEqual(headers.cacheStatusOf(of('Cache-Status', 'origin; hit, edge-1;fwd=uri-miss;collapsed;detail=hold')), { cache: 'edge-1', hit: false, detail: 'hold' });
  assert.deepEqual(headers.cacheStatusOf(of('Cache-Status', '"the edge"; hit')), { cache: 'the edge', hit: true, detail: null });
  assert.equal(headers.cacheStatusOf(of('Cache-Status', '')), null);
  assert.deepEqual(headers.serverTimingOf(of('Server-Timing', 'hold;dur=412.5;desc="at the edge", hit, fill;dur=x')), [
    { name: 'hold', ms: 412.5, text: 'at the edge' },
    { name: 'hit', ms: 0, text: '' },
    { name: 'fill', ms: 0, text: '' },
  ]);
  assert.deepEqual(headers.serverTimingOf(of('X', 'y')), []);
});

test('Content-Digest', () => {
  const sum = Buffer.alloc(32, 7).toString('base64');
  assert.deepEqual([...headers.digestOf(of('Content-Digest', `sha-512=:AAAA:, sha-256=:${sum}:`))], Array(32).fill(7));
  for (const bad of [null, '', 'sha-256=:AAAA:', `sha-256="${sum}"`, 'md5=:AAAA:']) assert.equal(headers.digestOf(of('Content-Digest', bad)), null, bad);
});

test('what a verdict says, in words', () => {
  assert.equal(headers.qualityIn([]), '');
  assert.equal(headers.qualityIn([{ kind: 'short', ms: 400 }, { kind: 'black', ms: 2000 }, { kind: 'score 40', ms: 0 }]), 'black 2.0 s, score 40');
});
