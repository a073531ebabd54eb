// Presses everything on the demo's page in headless Chromium, and looks whether
// it does what it says.
//
//   node buttons.mjs URL DIRECTORY
//
// Screenshots go to the directory. Prints a JSON object at the end: done, the
// names of what was pressed, and bad, what did not have its effect.
import { chromium } from 'playwright-core';

const [base, shots] = process.argv.slice(2);
const done = [];
const bad = [];

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--autoplay-policy=no-user-gesture-required', '--mute-audio', '--disable-gpu'],
});
const page = await browser.newPage({ viewport: { width: 1280, height: 1200 } });
page.on('pageerror', (e) => bad.push(`the page: ${e}`));
page.on('response', (r) => {
  if (r.url().includes('/-/') && r.status() >= 400) bad.push(`${r.request().method()} ${r.url()}: ${r.status()}`);
});

const snapshot = () => page.evaluate(() => structuredClone(window.headwater));
const demo = () => page.evaluate(async () => (await fetch('/-/demo/state', { cache: 'no-store' })).json());
const active = async (id) => (await demo()).faults.find((f) => f.id === id).active;

// until waits for a condition, at most so many seconds.
async function until(what, condition, seconds = 20) {
  const end = Date.now() + seconds * 1000;
  let last;
  for (;;) {
    last = await condition();
    if (last === true) return true;
    if (Date.now() > end) {
      bad.push(`${what}: ${JSON.stringify(last)}`);
      return false;
    }
    await page.waitForTimeout(100);
  }
}

// press does something and waits for its effect: a function of the state before
// and now that is true when it is there.
async function press(name, how, effect, seconds) {
  const before = await snapshot();
  await how();
  done.push(name);
  await until(name, async () => {
    const now = await snapshot();
    return (await effect(before, now)) || { state: now.state, health: now.health, currentTime: now.currentTime, pipeline: now.pipeline };
  }, seconds);
}

const key = (k) => () => page.keyboard.press(k);
const click = (selector) => async () => {
  for (let tries = 6; tries > 0; tries--) {
    await page.mouse.move(400 + Math.random() * 50, 300); // the controls hide, on a busy machine before they are reached
    const missed = await page.click(selector, { timeout: 5000 }).then(() => null, (e) => e);
    if (!missed) break;
    if (tries === 1) throw missed;
  }
  await page.evaluate(() => document.activeElement.blur()); // a button takes the space key
};
const playing = (_, now) => now.playing;
const video = (f) => page.evaluate(f);

try {
  await page.goto(base);
  await until('the page plays', async () => (await snapshot())?.playing === true, 40);
  // Some history to go back to.
  await until('a history of 20 s', async () => (await snapshot()).currentTime > 20, 40);

  // ---- faults, by button and by key. What is expected of the picture is that
  // of two pipelines, of which the other goes on.
  const of = (id) => `.fault:has(kbd:text-is("${id}"))`;
  const pressed = (id) => page.getAttribute(of(id), 'aria-pressed');
  async function breakIt(id, k, effect, shot) {
    const how = { button: click(of(k)), key: key(k) };
    for (const [on, off] of [['button', 'key'], ['key', 'button']]) {
      await press(`${id} on by ${on}`, how[on], async (before, now) => (await active(id)) && (await pressed(k)) === 'true' && effect(before, now));
      if (shot) await page.screenshot({ path: `${shots}/${id}.png` });
      await press(`${id} off by ${off}`, how[off], async () => !(await active(id)) && (await pressed(k)) === 'false');
      await press(`all is well after ${id}`, async () => {}, async (_, now) => now.playing && now.live && now.health.tone === 'good', 30);
    }
  }
  const served = (p) => (_, now) => now.pipeline === p && now.health.tone === 'good';
  await breakIt('kill-a', '1', served('b'));
  await breakIt('corrupt-a', '2', served('b'));
  await breakIt('kill-b', '3', served('a'));
  await breakIt('corrupt-both', '4', (before, now) => now.defects > before.defects && now.health.words === 'Defects on screen', true);
  await breakIt('kill-both', '5', async (before, now) =>
    now.lost > before.lost && (now.refusals[410] ?? 0) > (before.refusals[410] ?? 0) && now.health.tone === 'bad' &&
    /^No picture: .* lost$/.test(await page.textContent('#connection')) && (await page.textContent('#chip-live-text')) === 'No picture', true);
  await until('the demo tells of gaps, refusals and defects', async () => {
    const { summary } = await demo();
    return (summary.gaps > 0 && summary.refusals > 0 && summary.defective_served > 0) || summary;
  });

  // ---- the picture
  const paused = (_, now) => now.state === 'paused';
  const back = (seconds) => (before, now) => !now.live && now.currentTime < before.currentTime - seconds + 3;
  const live = (_, now) => now.live && now.playing;
  for (const [name, how] of [['Space', key(' ')], ['k', key('k')], ['the play button', click('#play')], ['the picture', () => page.click('#video', { position: { x: 200, y: 150 } })]]) {
    await press(`${name} pauses`, how, paused);
    if (name === 'Space') await press('the big play button', click('#big-play'), playing);
    else await press(`${name} plays`, how, playing);
    await press('the live button', click('#live'), live);
  }
  for (const [name, how, seconds] of [
    ['ArrowLeft', key('ArrowLeft'), 5], ['Shift+ArrowLeft', key('Shift+ArrowLeft'), 30], ['j', key('j'), 10], ['Home', key('Home'), 15],
    ['the back button', click('#back'), 10],
  ]) {
    await press(`${name} goes back`, how, back(Math.min(seconds, 15)));
    await press('l goes to live', key('l'), live);
  }
  await press('Shift+ArrowLeft goes back', key('Shift+ArrowLeft'), back(15));
  for (const [name, how, seconds] of [['ArrowRight', key('ArrowRight'), 5], ['the forward button', click('#forward'), 10], ['Shift+ArrowRight', key('Shift+ArrowRight'), 10]]) {
    await press(`${name} goes forward`, how, (before, now) => now.currentTime > before.currentTime + seconds - 1.5);
  }
  await press('End goes to live', key('End'), live);
  await press('the bar goes back', async () => {
    const box = await page.locator('#scrub').boundingBox();
    await page.mouse.move(box.x + box.width * 0.5, box.y + box.height / 2);
    await page.mouse.down();
    await page.mouse.up();
  }, (before, now) => !now.live && now.currentTime < before.currentTime - 5);
  await press('the live button', click('#live'), live);

  // ---- sound, size, quality
  const muted = (want) => async () => (await video(() => document.getElementById('video').muted)) === want;
  await press('the button for sound', click('#unmute'), muted(false));
  await press('m mutes', key('m'), muted(true));
  await press('the mute button', click('#mute'), muted(false));
  const volume = (test) => async () => test(await video(() => document.getElementById('video').volume));
  await press('ArrowDown', key('ArrowDown'), volume((v) => v < 0.95));
  await press('ArrowUp', key('ArrowUp'), volume((v) => v > 0.95));
  await press('the volume', () => page.fill('#volume', '0.3'), volume((v) => Math.abs(v - 0.3) < 0.01));
  await page.evaluate(() => document.activeElement.blur());
  const full = (want) => async () => Boolean(await video(() => document.fullscreenElement)) === want;
  await press('c says that there are no subtitles', key('c'), async () => (await page.textContent('#flash')) === 'No subtitles');
  await press('f is full screen', key('f'), full(true));
  await press('f leaves it', key('f'), full(false));
  await press('the full screen button', click('#full'), full(true));
  await press('the full screen button again', click('#full'), full(false));
  const qualities = await page.$$eval('#quality option', (all) => all.map((o) => o.value).filter(Boolean));
  for (const q of qualities) {
    await press(`quality ${q}`, () => page.selectOption('#quality', q), (_, now) => now.rendition === q && now.playing);
  }
  await press('quality by itself', () => page.selectOption('#quality', ''), (_, now) => now.playing);
  await page.evaluate(() => document.activeElement.blur());

  // ---- latency
  await press('the target', () => page.fill('#target', '5'), async (_, now) => now.targetMS === 5000 && (await page.getAttribute('#target-auto', 'aria-pressed')) === 'false');
  await press('the automatic target', click('#target-auto'), async () => (await page.getAttribute('#target-auto', 'aria-pressed')) === 'true');
  await press('live again', click('#live'), live, 30);

  // ---- help, the log's filters
  const open = (want) => async () => (await video(() => document.getElementById('help').open)) === want;
  await press('? is help', key('?'), open(true));
  await press('? closes it', key('?'), open(false));
  await press('the help button', click('#help-button'), open(true));
  await press('its close button', () => page.click('#help .icon-button'), open(false));
  const kinds = [['Switches', ['switch']], ['Media', ['gap', 'defect', 'stall', 'quality']], ['Notices', ['notice']], ['System', ['network', 'event', 'live', 'fault']], ['All', null]];
  for (const [name, want] of kinds) {
    await press(`the log's ${name}`, () => page.click(`#filters button:text-is("${name}")`), async () => {
      const got = await page.$$eval('#log li[data-kind]', (all) => all.map((li) => li.dataset.kind));
      return want === null ? got.length > 0 : got.every((k) => want.includes(k)) && (name === 'Notices' || got.length > 0);
    });
  }
  await page.screenshot({ path: `${shots}/demo.png` });

  // What is on the page that nobody pressed?
  const known = ['play', 'big-play', 'back', 'forward', 'live', 'mute', 'unmute', 'full', 'help-button', 'target-auto', 'card-action'];
  const others = await page.$$eval('#watch button, .bar button', (all) => all.filter((b) => !b.closest('.faults, .filters, dialog')).map((b) => b.id));
  for (const id of others) if (!known.includes(id)) bad.push(`nothing presses the button ${id}`);
  const faults = (await demo()).faults.map((f) => f.id);
  for (const id of faults) if (!done.includes(`${id} on by key`)) bad.push(`nothing presses ${id}`);
  const helped = await page.$$eval('#keys kbd', (all) => all.map((k) => k.textContent));
  const pressedKeys = ['Space', 'K', '←', '→', '⇧ ←', '⇧ →', 'J', 'L', 'End', 'Home', '↑', '↓', 'M', 'C', 'F', '?', '1', '2', '3', '4', '5'];
  for (const k of helped) if (!pressedKeys.includes(k)) bad.push(`nothing presses the key ${k}`);
} catch (e) {
  bad.push(String(e));
  await page.screenshot({ path: `${shots}/failed.png` }).catch(() => {});
}
console.log(JSON.stringify({ done, bad }));
await browser.close();
