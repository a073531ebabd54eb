// WebVTT in ISO base media files (ISO/IEC 14496-30): each sample has the cues that are
// shown while it lasts, or an empty one. Pure.

import { boxes, view } from './mp4.js';

const MOST_CUES = 2000;
const utf8 = new TextDecoder();

// wvttCues returns [{from, to, text, settings}] of samples, with times in seconds of
// media time. A cue that is in several samples, one behind the other, is one.
export function wvttCues(samples, timescale) {
  const cues = [];
  for (const sample of samples) {
    const from = sample.at / timescale;
    const to = (sample.at + sample.duration) / timescale;
    const v = view(sample.data);
    for (const box of boxes(v)) {
      if (box.type !== 'vttc') continue;
      const cue = { from, to, text: '', settings: {} };
      for (const part of boxes(v, box.body, box.end)) {
        const text = utf8.decode(sample.data.subarray(part.body, part.end));
        if (part.type === 'payl') cue.text = text;
        if (part.type === 'sttg') cue.settings = settingsOf(text);
      }
      if (cue.text) join(cues, cue);
      if (cues.length >= MOST_CUES) return cues;
    }
  }
  return cues;
}

// goesOn reports whether a cue goes on where another ends.
export function goesOn(before, cue) {
  return Math.abs(before.to - cue.from) < 0.002 && before.text === cue.text && JSON.stringify(before.settings) === JSON.stringify(cue.settings);
}

function join(cues, cue) {
  const before = cues.find((c) => goesOn(c, cue));
  if (before) before.to = cue.to;
  else cues.push(cue);
}

const number = (text) => (/^-?\d+(\.\d+)?$/.test(text) ? Number(text) : null);
const percent = (text) => (/^\d+(\.\d+)?%$/.test(text) && parseFloat(text) <= 100 ? parseFloat(text) : null);

// settingsOf reads WebVTT cue settings into what a VTTCue has. What is not understood
// is passed over.
export function settingsOf(text) {
  const out = {};
  for (const setting of text.trim().split(/\s+/)) {
    const [, name, value] = /^([a-z]+):(.+)$/.exec(setting) ?? [];
    const [first, second] = (value ?? '').split(',');
    if (name === 'vertical' && (value === 'rl' || value === 'lr')) out.vertical = value;
    if (name === 'line' && percent(first) !== null) Object.assign(out, { line: percent(first), snapToLines: false });
    else if (name === 'line' && number(first) !== null) Object.assign(out, { line: number(first), snapToLines: true });
    if (name === 'line' && ['start', 'center', 'end'].includes(second)) out.lineAlign = second;
    if (name === 'position' && percent(first) !== null) out.position = percent(first);
    if (name === 'position' && ['line-left', 'center', 'line-right'].includes(second)) out.positionAlign = second;
    if (name === 'size' && percent(value) !== null) out.size = percent(value);
    if (name === 'align' && ['start', 'center', 'end', 'left', 'right'].includes(value)) out.align = value;
  }
  return out;
}
