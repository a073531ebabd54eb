// Has the project's page show subtitles in headless Chromium, one rendition after the
// other, and looks often which cues are shown when.
//
//   node subtitles.mjs '{"url": URL, "shown": [[RENDITION, SECONDS], ...], "screenshots": DIRECTORY}'
//
// Prints a JSON object: options, what may be chosen; and of each rendition, and of "" before
// anything was chosen, what was seen: [[media time in seconds, [{text, from, to}, ...]], ...].
import path from 'node:path';
import { chromium } from 'playwright-core';

const { url, shown, screenshots } = JSON.parse(process.argv[2]);
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--autoplay-policy=no-user-gesture-required', '--mute-audio', '--disable-gpu'],
});
const page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
const out = { options: [], seen: {}, errors: [] };
page.on('pageerror', (e) => out.errors.push(String(e)));
await page.goto(url);
await page.waitForFunction(() => window.headwater?.playing && window.headwater.currentTime > 0, null, { timeout: 90_000 });

const look = async (name, seconds) => {
  if (name) {
    await page.selectOption('#subtitles', name);
    // Its first cue has come.
    await page.waitForFunction(() => window.headwater.subtitles.cues.length > 0, null, { timeout: 90_000 });
    await page.screenshot({ path: path.join(screenshots, `subtitles-${name}.png`) });
  }
  out.seen[name] = await page.evaluate(async (ms) => {
    const seen = [];
    for (const end = performance.now() + ms; performance.now() < end;) {
      const { currentTime, subtitles } = window.headwater;
      seen.push([currentTime, subtitles.cues]);
      await new Promise((ok) => setTimeout(ok, 50));
    }
    return seen;
  }, seconds * 1000);
};
out.options = await page.$$eval('#subtitles option', (all) => all.map((o) => [o.value, o.textContent]));
for (const [name, seconds] of shown) await look(name, seconds);
await page.selectOption('#subtitles', '');
out.off = await page.evaluate(() => window.headwater.subtitles);
out.errors.push(...(await page.evaluate(() => window.headwater.errors)));
console.log(JSON.stringify(out));
await browser.close();
