// Watches with several players at once in headless Chromium.
//
//   node watch.mjs '{"seconds": 32, "patience": 40, "screens": [{"player": PLAYER, "url": URL}]}'
//
// PLAYER is hls, dash, shaka, videojs, rx, or page for the project's own page, of which
// URL is then the address; a screenshot is taken at the end where there is a file for
// it. Where there is a "license", that is where a player gets ClearKey licenses; where there
// is a "clock", that of the viewer is wrong by so many seconds. With "together" all are opened
// at once, else one after the other; each has "patience" seconds to begin. With "seeks",
// [{"at": SECONDS, "by": SECONDS}], viewers go back or forward while they watch. Prints
// "playing" when all pictures move, and a JSON array at the end: for each what was seen, with a
// "record" that is of the same form for all, or failed with the reason why it did not play.
import { chromium } from 'playwright-core';
import http from 'node:http';
import fs from 'node:fs';
import path from 'node:path';

const { seconds, screens, together, patience, seeks = [] } = JSON.parse(process.argv[2]);
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
async function open({ player, url, screenshot, license = '', clock = 0 }) {
  const own = player === 'page';
  const page = await browser.newPage({ viewport: own ? { width: 1280, height: 900 } : { width: 660, height: 380 } });
  const logs = [];
  page.on('console', (m) => { if (m.type() === 'error' && logs.length < 20) logs.push(m.text()); });
  page.on('pageerror', (e) => logs.push(String(e)));
  if (clock) await page.addInitScript(wrongClock, clock * 1000);
  const openedAt = Date.now();
  await page.goto(own ? url : `http://127.0.0.1:${server.address().port}/?${new URLSearchParams({ player, url, license })}`);
  const state = own
    ? () => page.evaluate(() => structuredClone(window.headwater))
    : () => page.evaluate(() => ({ ...window.seen, latencySeconds: window.seen.latency?.(), latency: undefined }));

  const until = Date.now() + patience * 1000;
  for (;;) {
    const s = await state();
    if (s?.fatal?.length) return { failed: `fatal: ${s.fatal}; console: ${logs}` };
    if (own ? s?.playing && s.currentTime > 0 : s?.playing) {
      const began = own ? { at: Date.now(), after: Date.now() - openedAt } : { at: s.startedAt, after: s.startedAt - s.openedAt };
      return { page, logs, own, state, screenshot, began, sought: [] };
    }
    if (Date.now() > until) return { failed: `did not start to play: ${JSON.stringify(s)}; console: ${logs}` };
    await new Promise((ok) => setTimeout(ok, 100));
  }
}

// wrongClock runs in a page before all else: its clock is off, by so many ms.
function wrongClock(off) {
  const Right = Date;
  window.rightNow = () => Right.now();
  window.Date = class extends Right {
    constructor(...a) { a.length ? super(...a) : super(Right.now() + off); }
    static now() { return Right.now() + off; }
  };
}

// seek has a viewer go elsewhere, as he does it by the player, and says how long it took.
async function seek(p, by) {
  if (!p.own) {
    await p.page.evaluate((by) => window.seek(by), by);
    await p.page.waitForFunction(() => window.arrived().took !== undefined, null, { timeout: 20_000, polling: 100 }).catch(() => {});
    return p.page.evaluate(() => window.arrived());
  }
  const to = (await p.state()).currentTime + by, from = Date.now();
  if (by % 30 === 0 && Math.abs(by) < 300) {
    for (let left = by; left; left -= 30 * Math.sign(by)) await p.page.keyboard.press(by < 0 ? 'Shift+ArrowLeft' : 'Shift+ArrowRight');
  } else {
    await p.page.mouse.move(400 + Math.random() * 50, 300); // the controls hide
    const box = await p.page.locator('#scrub').boundingBox();
    const [low, high] = await p.page.$eval('#scrub', (bar) => [Number(bar.ariaValueMin ?? 0), Number(bar.ariaValueMax)]);
    await p.page.mouse.click(box.x + box.width * (to - low) / (high - low), box.y + box.height / 2);
  }
  for (let last = -1; Date.now() - from < 20_000; await new Promise((ok) => setTimeout(ok, 100))) {
    const s = await p.state();
    // A point of a bar of a day is minutes wide.
    if (s.playing && s.currentTime > last && last >= 0 && Math.abs(s.currentTime - to) < 15 + Math.abs(by) / 100) return { by, took: (Date.now() - from) / 1000, off: s.currentTime - to };
    last = s.playing ? s.currentTime : -1;
  }
  return { by };
}

// record is what was seen at a player in one form for all, in seconds. An own page's
// stalls and jumps are those after it began, others note theirs from then on anyway.
function record(p, before, after, progress) {
  const began = { startedAt: p.began.at, start: p.began.after / 1000, progress, seeks: p.sought };
  if (!p.own) {
    const { stalls, jumps, still, ended, height, latencySeconds: latency } = after;
    return { ...began, latency, stalls: stalls.length, stalled: stalls.reduce((sum, s) => sum + s.seconds, 0), jumps: jumps.length, jumped: jumps.reduce((sum, j) => sum + j.seconds, 0), still, ended, height };
  }
  const since = (name) => after[name] - before[name];
  return {
    ...began, latency: after.latencyMS / 1000, stalls: since('stalls'), stalled: since('stallMS') / 1000, jumps: since('jumps'), jumped: since('gapMS') / 1000,
    still: after.playing || after.state === 'ended' ? 0 : p.still, ended: after.state === 'ended', height: Number(after.rendition.replace(/\D/g, '')),
  };
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
const from = Date.now(), at = (s) => new Promise((ok) => setTimeout(ok, from + s * 1000 - Date.now()));
for (const s of seeks) {
  await at(s.at);
  await each(async (p) => { p.sought.push(await seek(p, s.by)); return p; });
}
// For how long the picture of our page has been still when it is over.
const watching = setInterval(() => each(async (p) => {
  if (!p.own) return p;
  const { currentTime } = await p.state();
  if (currentTime !== p.last) [p.last, p.lastMoved] = [currentTime, Date.now()];
  p.still = (Date.now() - p.lastMoved) / 1000;
  return p;
}), 250);
await at(seconds);
clearInterval(watching);
const seen = await each(async (p) => {
  const before = p.before;
  const after = await p.state();
  if (p.screenshot) await p.page.screenshot({ path: p.screenshot });
  const progress = (after.time ?? after.currentTime) - (before.time ?? before.currentTime);
  return { ...after, progress, before: p.own ? before : undefined, console: p.logs, record: record(p, before, after, progress) };
});
console.log(JSON.stringify(seen));
await browser.close();
server.close();
