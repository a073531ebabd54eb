// Of IMSC1 text documents (TTML) what it takes to show subtitles: when, where, and what
// is written. Pure, and bounded by what is there.

import { elementsOf } from './xml.js';

const MOST_CUES = 2000;
const utf8 = new TextDecoder();

// stppCues returns the cues of samples, each a document (ISO/IEC 14496-30), as wvttCues
// does. Times in a document count from the beginning of the track, as they should, or
// from that of its sample, as some encoders have it. A document is shown while its sample
// lasts, and no longer. Throws RangeError on what is not XML.
export function stppCues(samples, timescale) {
  const cues = [];
  for (const sample of samples) {
    const from = sample.at / timescale;
    const to = (sample.at + sample.duration) / timescale;
    let own = ttmlCues(utf8.decode(sample.data));
    const inside = (c) => c.from < to && c.to > from;
    const moved = own.map((c) => ({ ...c, from: c.from + from, to: c.to + from }));
    if (!own.some(inside) && moved.some(inside)) own = moved;
    for (const c of own.filter(inside)) cues.push({ ...c, from: Math.max(c.from, from), to: Math.min(c.to, to) });
  }
  return cues.slice(0, MOST_CUES);
}

// ttmlCues returns the cues of one document, with times as they are in it.
export function ttmlCues(text) {
  const root = elementsOf(text);
  if (local(root) !== 'tt') throw new RangeError('not a TTML document');
  const doc = { clock: clockOf(root), extent: lengths(attr(root, 'extent')), styles: new Map(), regions: new Map(), looked: new Map(), cues: [] };
  for (const e of descendants(root)) {
    const id = attr(e, 'id');
    if (local(e) === 'style' && id) doc.styles.set(id, e);
    if (local(e) === 'region' && id) doc.regions.set(id, e);
  }
  const body = root.children.find((e) => local(e) === 'body');
  if (body) walk(doc, body, { from: 0, to: Infinity, region: null, align: '', italic: false, bold: false, underline: false, keep: attr(root, 'space') === 'preserve' });
  return doc.cues;
}

// walk goes through what is shown, with what is inherited.
function walk(doc, e, above) {
  if (doc.cues.length >= MOST_CUES) return;
  const here = inherit(doc, e, above);
  if (local(e) !== 'p') {
    for (const child of e.children) if (['div', 'p'].includes(local(child))) walk(doc, child, here);
    return;
  }
  // A span with times of its own is a cue of its own.
  const timed = descendants(e).some((x) => local(x) === 'span' && (attr(x, 'begin') || attr(x, 'end') || attr(x, 'dur')));
  if (timed) return spans(doc, e, here);
  cue(doc, here, write(doc, e, here));
}

function spans(doc, e, here) {
  for (const child of e.nodes) {
    if (typeof child === 'string') cue(doc, here, escape(child));
    else if (local(child) === 'span') {
      const own = inherit(doc, child, here);
      if (child.children.some((x) => local(x) === 'span')) spans(doc, child, own);
      else cue(doc, own, write(doc, child, own));
    }
  }
}

function cue(doc, here, written) {
  const text = (here.keep ? written : written.replace(/[ \t\r\n]+/g, ' ').replace(/ ?\u2028 ?/g, '\u2028')).replaceAll('\u2028', '\n');
  const trimmed = trim(text);
  if (!trimmed || !(here.to > here.from) || doc.cues.length >= MOST_CUES) return;
  doc.cues.push({ from: here.from, to: here.to, text: trimmed, settings: placed(doc, here) });
}

// trim looks at each end once, as no expression for the end of a text does.
function trim(text) {
  let from = 0;
  let to = text.length;
  while (from < to && ' \t\n'.includes(text[from])) from++;
  while (from < to && ' \t\n'.includes(text[to - 1])) to--;
  return text.slice(from, to);
}

// write is what is in an element, as the text of a VTTCue, with U+2028 for line breaks.
function write(doc, e, here) {
  let out = '';
  for (const child of e.nodes) {
    if (typeof child === 'string') out += escape(child);
    else if (local(child) === 'br') out += '\u2028';
    else if (local(child) === 'span') out += write(doc, child, inherit(doc, child, { ...here, italic: false, bold: false, underline: false }));
  }
  for (const [tag, has] of [['u', here.underline], ['b', here.bold], ['i', here.italic]]) if (has && out.trim()) out = `<${tag}>${out}</${tag}>`;
  return out;
}

const escape = (text) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');

// inherit is what holds in an element: its times are within those above.
function inherit(doc, e, above) {
  const begin = timeOf(attr(e, 'begin'), doc.clock);
  const end = timeOf(attr(e, 'end'), doc.clock);
  const dur = timeOf(attr(e, 'dur'), doc.clock);
  const from = above.from + (begin ?? 0);
  const to = Math.min(above.to, end === null ? Infinity : above.from + end, dur === null ? Infinity : from + dur);
  const region = doc.regions.get(attr(e, 'region')) ?? above.region;
  const style = (name) => styleOf(doc, e, name);
  const keep = attr(e, 'space') ? attr(e, 'space') === 'preserve' : above.keep;
  const or = (name, value, before) => (style(name) ? style(name) === value : before);
  return {
    from, to, region, keep, align: style('textAlign') || above.align,
    italic: or('fontStyle', 'italic', above.italic), bold: or('fontWeight', 'bold', above.bold), underline: or('textDecoration', 'underline', above.underline),
  };
}

// styleOf looks at the element, then at the styles that it names, at each once: they may
// name each other, many times.
function styleOf(doc, e, name) {
  if (!doc.looked.has(e)) doc.looked.set(e, new Map());
  const looked = doc.looked.get(e);
  if (!looked.has(name)) {
    looked.set(name, ''); // for those who come here from here
    looked.set(name, lookFor(doc, e, name));
  }
  return looked.get(name);
}

function lookFor(doc, e, name) {
  const own = attr(e, name);
  if (own) return own;
  for (const id of attr(e, 'style').split(/\s+/).reverse()) {
    const found = doc.styles.has(id) ? styleOf(doc, doc.styles.get(id), name) : '';
    if (found) return found;
  }
  for (const child of local(e) === 'region' ? e.children : []) {
    if (local(child) === 'style' && attr(child, name)) return attr(child, name);
  }
  return '';
}

// placed is where a cue is, as a VTTCue has it. What is at the bottom, as most is, is left
// to the browser, which keeps cues apart.
function placed(doc, { region, align }) {
  const out = {};
  const side = { left: 'left', start: 'start', right: 'right', end: 'end', center: 'center' }[align || (region && styleOf(doc, region, 'textAlign'))];
  if (side) out.align = side;
  if (!region) return out;
  const origin = inPercent(lengths(styleOf(doc, region, 'origin')), doc.extent);
  const extent = inPercent(lengths(styleOf(doc, region, 'extent')), doc.extent);
  if (!origin || !extent) return out;
  const [x, y] = origin;
  const [width, height] = extent;
  const display = styleOf(doc, region, 'displayAlign') || 'before';
  if (width < 100) {
    out.size = width;
    out.position = Math.min(x + ({ left: 0, start: 0, right: width, end: width }[side] ?? width / 2), 100); // of a VTTCue no more
  }
  const at = { before: y, center: y + height / 2, after: y + height }[display] ?? y;
  if (at < 75) Object.assign(out, { line: at, snapToLines: false, lineAlign: { center: 'center', after: 'end' }[display] ?? 'start' });
  return out;
}

// lengths reads two lengths, [[number, unit], [number, unit]], or null.
function lengths(text) {
  const found = text.trim().split(/\s+/).map((s) => /^(-?\d+(?:\.\d+)?)(%|px)$/.exec(s));
  return found.length === 2 && found.every(Boolean) ? found.map((m) => [Number(m[1]), m[2]]) : null;
}

function inPercent(pair, root) {
  if (!pair) return null;
  const out = pair.map(([n, unit], i) => (unit === '%' ? n : root?.[i][1] === 'px' && root[i][0] > 0 ? (100 * n) / root[i][0] : NaN));
  return out.every((n) => n >= 0 && n <= 100) ? out : null;
}

function clockOf(root) {
  const [n, d] = (attr(root, 'frameRateMultiplier') || '1 1').split(/\s+/).map(Number);
  const frames = (Number(attr(root, 'frameRate')) || 30) * (n > 0 && d > 0 ? n / d : 1);
  return { frames, ticks: Number(attr(root, 'tickRate')) || 1 };
}

const UNITS = { h: 3600, m: 60, s: 1, ms: 0.001 };

// timeOf reads a time expression in seconds; null where there is none.
export function timeOf(text, { frames, ticks }) {
  let m = /^(\d+):(\d\d):(\d\d)(?:(\.\d+)|:(\d\d+))?$/.exec(text);
  if (m) return Number(m[1]) * 3600 + Number(m[2]) * 60 + Number(m[3]) + Number(m[4] ?? 0) + Number(m[5] ?? 0) / frames;
  m = /^(\d+(?:\.\d+)?)(h|ms|m|s|f|t)$/.exec(text);
  if (!m) return null;
  return Number(m[1]) * (UNITS[m[2]] ?? 1 / (m[2] === 'f' ? frames : ticks));
}

// Namespaces of TTML say little that names do not: the local name decides.
const local = (e) => e.name.slice(e.name.indexOf(':') + 1);

function attr(e, name) {
  for (const [key, value] of e.attributes) if (key === name || key.endsWith(`:${name}`)) return value;
  return '';
}

function descendants(e) {
  return e.children.flatMap((c) => [c, ...descendants(c)]);
}
