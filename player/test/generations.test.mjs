import assert from 'node:assert/strict';
import test from 'node:test';
import { Catalogue } from '../web/media/catalogue.js';
import { initFile, initOf } from '../web/core/generations.js';

const generations = [
  { index: 1, from: 10, renditions: [{ name: 'v720' }] },
  { index: 2, from: 20, renditions: [{ name: 'v720' }, { name: 'a-en' }] },
];

test('a segment has the init segment of the last generation that gave its rendition one', () => {
  for (const [name, n, want] of [['v720', 9, 0], ['v720', 10, 1], ['v720', 19, 1], ['v720', 20, 2], ['a-en', 19, 0], ['a-en', 20, 2], ['v360', 99, 0]]) {
    assert.equal(initOf(generations, name, n), want, `${name} ${n}`);
  }
  assert.equal(initOf(undefined, 'v720', 5), 0);
  assert.equal(initFile(0), 'init.mp4');
  assert.equal(initFile(12), 'init.12.mp4');
});

test('each init segment is fetched once, under its name', async (t) => {
  const asked = [];
  t.mock.method(globalThis, 'fetch', async (url) => {
    asked.push(url);
    return new Response(new Uint8Array(8), { status: 200 });
  });
  const catalogue = new Catalogue({ supports: () => true, url: (path) => `http://edge/${path}` });
  const rendition = { name: 'v720', type: 'video', bandwidth: 1 };
  catalogue.update([rendition], generations);
  const signal = new AbortController().signal;
  const inits = [];
  for (const n of [8, 9, 10, 11, 20, 9]) inits.push(await catalogue.init(rendition, n, signal));
  assert.deepEqual(asked, ['init.mp4', 'init.1.mp4', 'init.2.mp4'].map((file) => `http://edge/v720/${file}`));
  assert.equal(inits[0], inits[5]);
  assert.equal(inits[2], inits[3]);
  assert.notEqual(inits[1], inits[2]);
});
