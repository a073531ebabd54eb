// Watches with several players at once in headless Chromium.
//
//   node watch.mjs '{"seconds": 32, "patience": 40, "screens": [{"player": PLAYER, "url": URL}]}'
//
// PLAYER is hls, dash, shaka, videojs, rx, or page for the project's own page, of which
// URL is then the address; a screenshot is taken at the end where there is a file for
// it. Where there is a "license", that is where a player gets ClearKey licenses. With "together" all are opened at once, else one after the other; each has
// "patience" seconds to begin. Prints "playing" when all pictures move, and a JSON array
// at the end: for each what was seen, or failed with the reason why it did not play.
import { chromium } from 'playwright-core';
import http from 'node:http';
import fs from 'node:fs';
import path from 'node:path';

const { seconds, screens, together, patience } = JSON.parse(process.argv[2]);
const here = import.meta.dirname, modules = path.join(here, 'node_modules');
const types = { '.html': 'text/html', '.js': 'text/javascript', '.mjs': 'text/javascript' };

const isFile = (name) => fs.statSync(name, { throwIfNoEntry: false })?.isFile();

// The page comes from another origin than the media, as it does in life.
const server = http.createServer((req, res) => {
  const name = new URL(req.url, 'http://x').pathname;
  const file = name === '/' ? path.join(here, 'watch.html') : path.join(modules, path.normalize(name.replace(/^\/modules\//, '')));
  // Some modules are written for bundlers, which know that a name may be a file's
  // without .js, or a directory's.
  if (name !== '/' && !isFile(file)) {
    const found = [file + '.js', path.join(file, 'index.js')].find(isFile);
    res.writeHead(found ? 302 : 404, found && { location: '/modules/' + path.relative(modules, found) }).end();
    return;
  }
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

// open has one player play, and returns what looks at it.
async function open({ player, url, screenshot, license = '' }) {
  const own = player === 'page';
  const page = await browser.newPage({ viewport: own ? { width: 1280, height: 900 } : { width: 660, height: 380 } });
  const logs = [];
  page.on('console', (m) => { if (m.type() === 'error' && logs.length < 20) logs.push(m.text()); });
  page.on('pageerror', (e) => logs.push(String(e)));
  await page.goto(own ? url : `http://127.0.0.1:${server.address().port}/?${new URLSearchParams({ player, url, license })}`);
  const state = own
    ? () => page.evaluate(() => structuredClone(window.headwater))
    : () => page.evaluate(() => ({ ...window.seen, latencySeconds: window.seen.latency?.(), latency: undefined }));

  const until = Date.now() + patience * 1000;
  for (;;) {
    const s = await state();
    if (s?.fatal?.length) return { failed: `fatal: ${s.fatal}; console: ${logs}` };
    if (own ? s?.playing && s.currentTime > 0 : s?.playing) return { page, logs, own, state, screenshot };
    if (Date.now() > until) return { failed: `did not start to play: ${JSON.stringify(s)}; console: ${logs}` };
    await new Promise((ok) => setTimeout(ok, 100));
  }
}

// One after the other: to start takes more of the machine than to play.
const all = [];
for (const w of screens) {
  const opened = open(w).catch((e) => ({ failed: String(e) }));
  all.push(together ? opened : await opened);
}
await Promise.all(all).then((opened) => all.splice(0, all.length, ...opened));
console.log('playing');
const each = (f) => Promise.all(all.map((p) => p.failed ? p : f(p).catch((e) => ({ failed: String(e) }))));
await each(async (p) => { p.before = await p.state(); });
await new Promise((ok) => setTimeout(ok, seconds * 1000));
const seen = await each(async (p) => {
  const before = p.before;
  const after = await p.state();
  if (p.screenshot) await p.page.screenshot({ path: p.screenshot });
  const progress = (after.time ?? after.currentTime) - (before.time ?? before.currentTime);
  return { ...after, progress, before: p.own ? before : undefined, console: p.logs };
});
console.log(JSON.stringify(seen));
await browser.close();
server.close();
