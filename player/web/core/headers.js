// The headers of Headwater's delivery protocol, decoded. Every function takes a
// Headers (or anything with get) and returns null, or an empty list, where
// the header is absent or malformed: RFC 9651 section 4.2 has a malformed
// field ignored.

import { parseDictionary, parseItem, parseList, Token } from './sfv.js';

function lenient(parse, text, otherwise) {
  if (text === null || text === undefined) return otherwise;
  try {
    return parse(text);
  } catch {
    return otherwise;
  }
}

const nameOf = (value) => (value instanceof Token ? value.name : typeof value === 'string' ? value : '');

// Live-Pipeline: a;region=us-east-1 is {name: 'a', region: 'us-east-1'}.
export function pipelineOf(headers) {
  const item = lenient(parseItem, headers.get('Live-Pipeline'), null);
  if (!item || !nameOf(item.value)) return null;
  return { name: nameOf(item.value), region: nameOf(item.params.get('region')) };
}

const UNSEEN = ['open-gop', 'off-grid', 'late'];

// Live-Defects: short;ms=400, missing-samples;n=12 is
// [{kind: 'short', ms: 400, samples: 0}, ...]; clean is []. What a viewer does not
// see is left out: remarks, and that a segment came late, but whole.
export function defectsOf(headers) {
  const list = lenient(parseList, headers.get('Live-Defects'), []);
  return list
    .filter((m) => nameOf(m.value) && !UNSEEN.includes(nameOf(m.value)))
    .map((m) => ({
      kind: nameOf(m.value),
      ms: numberOr(m.params.get('ms'), 0),
      samples: numberOr(m.params.get('n'), 0),
    }));
}

// Live-Quality: black;ms=2000, score=40 is [{kind: 'black', ms: 2000, samples: 0},
// {kind: 'score 40', ms: 0, samples: 0}]: what is there, but not worth seeing.
export function qualityOf(headers) {
  const members = lenient(parseDictionary, headers.get('Live-Quality'), null);
  const found = [];
  for (const kind of ['black', 'frozen', 'silent']) {
    const ms = numberOr(members?.get(kind)?.params.get('ms'), 0);
    if (ms > 0) found.push({ kind, ms, samples: 0 });
  }
  const score = numberOr(members?.get('score')?.value, 100);
  if (score < 100) found.push({ kind: `score ${score}`, ms: 0, samples: 0 });
  return found;
}

// qualityIn is what of defects is such a verdict, in words: black 2.0 s, score 40.
export function qualityIn(defects) {
  return defects
    .filter((d) => ['black', 'frozen', 'silent'].includes(d.kind) || d.kind.startsWith('score '))
    .map((d) => (d.ms ? `${d.kind} ${(d.ms / 1000).toFixed(1)} s` : d.kind))
    .join(', ');
}

// Live-Notifications: 17, ad-break;id="b1";from=1042;to=1057;data=:e30=: is
// {sequence: 17, notifications: [{type, id, from, to, data}]}; to is null
// while open, data a Uint8Array or null.
export function notificationsOf(headers) {
  const list = lenient(parseList, headers.get('Live-Notifications'), null);
  if (!list || !Number.isInteger(list[0]?.value)) return null;
  const notifications = [];
  for (const member of list.slice(1)) {
    const type = nameOf(member.value);
    const id = nameOf(member.params.get('id'));
    const from = member.params.get('from');
    if (!type || !id || !Number.isInteger(from)) continue;
    const to = member.params.get('to');
    const data = member.params.get('data');
    notifications.push({
      type,
      id,
      from,
      to: Number.isInteger(to) ? to : null,
      data: data instanceof Uint8Array ? data : null,
    });
  }
  return { sequence: list[0].value, notifications };
}

// The integer headers Live-Edge and Live-Version.
export function integerOf(headers, name) {
  const item = lenient(parseItem, headers.get(name), null);
  return item && Number.isInteger(item.value) ? item.value : null;
}

// Live-Published in milliseconds of Unix time.
export function publishedOf(headers) {
  const item = lenient(parseItem, headers.get('Live-Published'), null);
  return item && typeof item.value === 'number' ? item.value * 1000 : null;
}

// How long, in milliseconds, an answer says it stays true: max-age-ms, which
// Headwater adds, or max-age, or Retry-After in seconds; null where nothing is
// said. Cache-Control is not a structured field, so it is read by hand.
export function freshnessOf(headers) {
  const directives = new Map();
  for (const part of (headers.get('Cache-Control') ?? '').split(',')) {
    const [name, value] = part.split('=').map((s) => s.trim());
    directives.set(name.toLowerCase(), value);
  }
  for (const [name, scale] of [['max-age-ms', 1], ['max-age', 1000]]) {
    if (/^\d{1,12}$/.test(directives.get(name) ?? '')) return Math.max(Number(directives.get(name)) * scale - ageOf(headers), 0);
  }
  return retryAfterOf(headers);
}

// Age in milliseconds: what a cache had for a while lasts that much less (RFC
// 9111, 4.2). Pages of other origins see it, since it is exposed to them.
function ageOf(headers) {
  const text = headers.get('Age') ?? '';
  return /^\d{1,9}$/.test(text) ? Number(text) * 1000 : 0;
}

// Retry-After in milliseconds; only its form in seconds, the one that
// Headwater sends.
export function retryAfterOf(headers) {
  const text = headers.get('Retry-After') ?? '';
  return /^\d{1,9}$/.test(text) ? Number(text) * 1000 : null;
}

// Cache-Status (RFC 9211), the cache nearest to the viewer (the last member):
// {cache, hit, detail} with detail the reason that it gives, or null.
export function cacheStatusOf(headers) {
  const list = lenient(parseList, headers.get('Cache-Status'), null);
  const last = list?.at(-1);
  if (!last) return null;
  return {
    cache: nameOf(last.value),
    hit: last.params.get('hit') === true,
    detail: nameOf(last.params.get('detail')) || nameOf(last.params.get('fwd')) || null,
  };
}

// Server-Timing: [{name, ms, text}]. Its grammar (W3C Server Timing) is close
// to a structured list, but allows names and parameters that are not.
export function serverTimingOf(headers) {
  return (headers.get('Server-Timing') ?? '')
    .split(',')
    .map((metric) => metric.split(';').map((s) => s.trim()))
    .filter(([name]) => name)
    .map(([name, ...params]) => {
      const of = (key) => {
        const found = params.find((p) => p.toLowerCase().startsWith(key + '='));
        return found?.slice(key.length + 1).replace(/^"(.*)"$/, '$1');
      };
      const ms = Number(of('dur'));
      return { name, ms: Number.isFinite(ms) ? ms : 0, text: of('desc') ?? '' };
    });
}

// Content-Digest (RFC 9530): the SHA-256 bytes, or null.
export function digestOf(headers) {
  const members = lenient(parseDictionary, headers.get('Content-Digest'), null);
  const value = members?.get('sha-256')?.value;
  return value instanceof Uint8Array && value.length === 32 ? value : null;
}

const numberOr = (value, otherwise) => (typeof value === 'number' ? value : otherwise);
