import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';
import { backoff, get } from '../web/core/segment.js';

const body = Buffer.from('segment bytes');
const digest = `sha-256=:${createHash('sha256').update(body).digest('base64')}:`;
let server;
let base;
let release = () => {};

before(async () => {
  const answers = {
    '/ok': (res) => res.writeHead(200, { 'Content-Digest': digest, 'Live-Pipeline': 'a' }).end(body),
    '/plain': (res) => res.writeHead(200).end(body),
    '/corrupt': (res) => res.writeHead(200, { 'Content-Digest': digest }).end('other bytes..'),
    '/early': (res) => res.writeHead(404, { 'Cache-Control': 'max-age=1, max-age-ms=1834' }).end('{}'),
    '/unknown': (res) => res.writeHead(404).end(),
    '/lost': (res) => res.writeHead(410).end(),
    '/busy': (res) => res.writeHead(503, { 'Cache-Control': 'max-age=5', 'Retry-After': '5' }).end(),
    '/gateway': (res) => res.writeHead(502).end(),
    '/denied': (res) => res.writeHead(403).end(),
    '/cut': (res) => {
      res.writeHead(200, { 'Content-Length': 1000 });
      res.write(body, () => res.destroy());
    },
    '/held': (res) => (release = () => res.writeHead(200).end(body)),
    '/never': () => {},
    '/slow': (res) => {
      res.writeHead(200, { 'Content-Length': 100 });
      res.write(Buffer.alloc(10));
    },
  };
  server = createServer((req, res) => answers[req.url](res));
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  base = `http://127.0.0.1:${server.address().port}`;
});

after(() => {
  server.closeAllConnections();
  server.close();
});

test('each status has its outcome', async () => {
  const cases = [
    ['/ok', { outcome: 'segment', verified: true }],
    ['/plain', { outcome: 'segment', verified: false }],
    ['/corrupt', { outcome: 'corrupt' }],
    ['/early', { outcome: 'later', waitMS: 1834 }],
    ['/unknown', { outcome: 'later', waitMS: 1000 }],
    ['/lost', { outcome: 'lost' }],
    ['/busy', { outcome: 'busy', waitMS: 5000 }],
    ['/gateway', { outcome: 'busy', waitMS: 1000 }],
    ['/denied', { outcome: 'refused' }],
    ['/cut', { outcome: 'failed' }],
  ];
  for (const [path, want] of cases) {
    const result = await get(base + path);
    for (const [key, value] of Object.entries(want)) assert.equal(result[key], value, `${path} ${key}`);
    if (path !== '/cut') assert.ok(result.headers, path);
    if (want.outcome === 'segment') assert.deepEqual(Buffer.from(result.bytes), body);
  }
});

test('no server is a failure, not an exception', async () => {
  const result = await get('http://127.0.0.1:1/x');
  assert.equal(result.outcome, 'failed');
  assert.ok(result.error);
});

test('the wait for the first byte is not download time', async () => {
  let now = 0;
  const pending = get(`${base}/held`, { now: () => now });
  // Whatever the real time is, the answer comes at a second on this clock.
  while ((await new Promise((resolve) => server.getConnections((_, n) => resolve(n)))) === 0);
  now = 1000;
  const timer = setInterval(() => { release?.(); release = undefined; }, 5); // once, when it has been asked
  const result = await pending;
  clearInterval(timer);
  assert.equal(result.outcome, 'segment');
  assert.equal(result.heldMS, 1000);
  assert.equal(result.downloadMS, 0);
});

test('the caller can leave, before and during the body', async () => {
  for (const path of ['/never', '/slow']) {
    const leave = new AbortController();
    const pending = get(base + path, { signal: leave.signal, keepGoing: () => true });
    leave.abort();
    assert.equal((await pending).outcome, 'cancelled');
  }
  const gone = new AbortController();
  gone.abort();
  assert.equal((await get(`${base}/ok`, { signal: gone.signal })).outcome, 'cancelled');
});

test('no first byte in time is a failure', async () => {
  const result = await get(`${base}/never`, { firstByteMS: 20 });
  assert.equal(result.outcome, 'failed');
  assert.equal(result.error, 'no answer in time');
});

test('a download can be abandoned half-way', async () => {
  const seen = [];
  const result = await get(`${base}/slow`, { keepGoing: (progress) => (seen.push(progress), false) });
  assert.equal(result.outcome, 'abandoned');
  assert.deepEqual([seen[0].received, seen[0].total], [10, 100]);
});

test('backoff doubles to two seconds, with jitter', () => {
  assert.deepEqual([1, 2, 3, 4, 9].map((k) => backoff(k, () => 1)), [250, 500, 1000, 2000, 2000]);
  assert.deepEqual([1, 4].map((k) => backoff(k, () => 0)), [125, 1000]);
});
