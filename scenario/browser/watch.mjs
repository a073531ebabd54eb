// Watches one URL with one player in headless Chromium.
//
//   node watch.mjs PLAYER URL SECONDS [SCREENSHOT]
//
// PLAYER is hls, dash, shaka, or page for the project's own page, of which URL
// is then the address. Prints "playing" when the picture moves, and one JSON
// object at the end.
import { chromium } from 'playwright-core';
import http from 'node:http';
import fs from 'node:fs';
import path from 'node:path';

const [player, url, seconds, screenshot] = process.argv.slice(2);
const here = import.meta.dirname;
const types = { '.html': 'text/html', '.js': 'text/javascript', '.mjs': 'text/javascript' };

// The page comes from another origin than the media, as it does in life.
const server = http.createServer((req, res) => {
  const name = new URL(req.url, 'http://x').pathname;
  const file = name === '/' ? path.join(here, 'watch.html') : path.join(here, 'node_modules', path.normalize(name.replace(/^\/modules\//, '')));
  fs.readFile(file, (err, data) => {
    if (err) { res.writeHead(404).end(); return; }
    res.writeHead(200, { 'content-type': types[path.extname(file)] ?? 'application/octet-stream' }).end(data);
  });
});
await new Promise((ok) => server.listen(0, '127.0.0.1', ok));

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--autoplay-policy=no-user-gesture-required', '--mute-audio', '--disable-gpu'],
});
const fail = async (why) => {
  console.log(JSON.stringify({ failed: why }));
  await browser.close();
  process.exit(1);
};
try {
  const page = await browser.newPage({ viewport: player === 'page' ? { width: 1280, height: 900 } : { width: 660, height: 380 } });
  const logs = [];
  page.on('console', (m) => { if (m.type() === 'error' && logs.length < 20) logs.push(m.text()); });
  page.on('pageerror', (e) => logs.push(String(e)));
  const own = player === 'page';
  await page.goto(own ? url : `http://127.0.0.1:${server.address().port}/?player=${player}&url=${encodeURIComponent(url)}`);
  const state = own
    ? () => page.evaluate(() => structuredClone(window.headwater))
    : () => page.evaluate(() => ({ ...window.seen, latencySeconds: window.seen.latency?.(), rates: undefined, latency: undefined }));

  const patience = Date.now() + 40_000;
  for (;;) {
    const s = await state();
    if (s?.fatal?.length) await fail(`fatal: ${s.fatal}; console: ${logs}`);
    if (own ? s?.playing && s.currentTime > 0 : s?.playing) break;
    if (Date.now() > patience) await fail(`did not start to play: ${JSON.stringify(s)}; console: ${logs}`);
    await new Promise((ok) => setTimeout(ok, 100));
  }
  console.log('playing');
  const before = await state();
  await new Promise((ok) => setTimeout(ok, Number(seconds) * 1000));
  const after = await state();
  if (screenshot) await page.screenshot({ path: screenshot });
  const progress = (after.time ?? after.currentTime) - (before.time ?? before.currentTime);
  console.log(JSON.stringify({ ...after, progress, before: own ? before : undefined, console: logs }));
} catch (e) {
  await fail(String(e));
}
await browser.close();
server.close();
