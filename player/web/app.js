// The page: which event, the player, and its views.

import { isEventName } from './core/timeline.js';
import { supported } from './media/screen.js';
import { Player } from './media/player.js';
import { Controls } from './ui/controls.js';
import { $, recall, remember, setAttr, setText } from './ui/dom.js';
import { Faults, demoState } from './ui/faults.js';
import { Keys } from './ui/keys.js';
import { Log } from './ui/log.js';
import { Overlay } from './ui/overlay.js';
import { Panels } from './ui/panels.js';
import { Scrub } from './ui/scrub.js';
import { snapshot } from './ui/snapshot.js';
import { Tape } from './ui/tape.js';

const VIEW_MS = 100;

async function main() {
  const query = new URLSearchParams(location.search);
  const demo = await demoState();
  const asked = query.get('event') || demo?.event || '';
  const edge = edgeOf(query.get('edge'));
  if (!asked) return ask('', '');
  if (!isEventName(asked)) return ask(asked, `“${asked}” is not of the form TENANT/EVENT: two names of small letters, digits and hyphens.`);
  if (!edge) return ask(asked, `“${query.get('edge')}” is not the address of an edge, such as http://host:8080.`);
  watch(asked, edge, demo);
}

// The edge's origin; this page's own by default; null if it is none.
function edgeOf(text) {
  if (!text) return location.origin;
  try {
    const url = new URL(text);
    return ['http:', 'https:'].includes(url.protocol) ? url.origin : null;
  } catch {
    return null;
  }
}

function ask(event, error) {
  document.title = 'Headwater';
  $('landing').hidden = false;
  $('landing-event').value = event;
  $('landing-edge').value = new URLSearchParams(location.search).get('edge') ?? '';
  $('landing-error').hidden = !error;
  $('landing-error').textContent = error;
  $('landing-event').focus();
  $('landing-form').addEventListener('submit', (e) => {
    e.preventDefault();
    const to = new URLSearchParams();
    to.set('event', $('landing-event').value.trim());
    if ($('landing-edge').value.trim()) to.set('edge', $('landing-edge').value.trim());
    location.search = to;
  });
}

function watch(event, edge, demo) {
  $('watch').hidden = false;
  setText($('event-name'), event);
  document.title = `${event} – Headwater`;
  const video = $('video');
  if (!supported()) {
    $('card').hidden = false;
    setText($('card-title'), 'This browser has no Media Source Extensions, which the player needs.');
    return;
  }
  const hint = (navigator.connection?.downlink ?? 5) * 1e6;
  const player = new Player({ video, edge, event, initial: recall('throughput', hint) });
  const log = new Log(player.journal);
  const overlay = new Overlay(player);
  const controls = new Controls(player, (text) => overlay.flash(text));
  const scrub = new Scrub(player);
  const panels = new Panels(player);
  const tape = new Tape(player);
  const faults = demo?.faults ? new Faults(player.journal, demo) : null;
  new Keys(player, controls, faults);
  player.setTarget(recall('target', null));
  Object.defineProperty(window, 'headwater', { get: () => snapshot(player), enumerable: true });
  player.start();

  let viewed = 0;
  const view = (now) => {
    requestAnimationFrame(view);
    if (now - viewed < VIEW_MS) return;
    viewed = now;
    setAttr(document.body, 'data-state', player.state);
    for (const part of [overlay, controls, scrub, panels, tape]) part.update();
  };
  requestAnimationFrame(view);
  addEventListener('pagehide', () => {
    if (player.throughput.samples > 3) remember('throughput', Math.min(player.throughput.estimate, 5e7));
  });
  return log;
}

main();
