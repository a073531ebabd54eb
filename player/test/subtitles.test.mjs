import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readInit } from '../web/core/mp4.js';
import { samplesOf } from '../web/core/samples.js';
import { stppCues, timeOf, ttmlCues } from '../web/core/ttml.js';
import { settingsOf, wvttCues } from '../web/core/wvtt.js';
import { elementsOf } from '../web/core/xml.js';

const bytes = (...parts) => Buffer.concat(parts.map((p) => (typeof p === 'string' ? Buffer.from(p) : Buffer.from(p))));
const u32 = (n) => [(n >>> 24) & 255, (n >>> 16) & 255, (n >>> 8) & 255, n & 255];
const zeros = (n) => Array(n).fill(0);
const box = (type, ...parts) => {
  const body = bytes(...parts);
  return bytes(u32(8 + body.length), type, body);
};
const vttc = (text, settings) => box('vttc', settings ? box('sttg', settings) : [], box('payl', text));
const vtte = box('vtte');

// A segment of samples [duration, data].
function segment(at, samples, extra = []) {
  const table = samples.flatMap(([duration, data]) => [...u32(duration), ...u32(data.length)]);
  const traf = (offset) => box('traf', box('tfhd', u32(0x020000), u32(1)), box('tfdt', u32(0x01000000), u32(0), u32(at)), box('trun', u32(0x000301), u32(samples.length), u32(offset), table), ...extra);
  const moof = (offset) => box('moof', box('mfhd', u32(0), u32(1)), traf(offset));
  return new Uint8Array(bytes(moof(moof(0).length + 8), box('mdat', ...samples.map(([, data]) => data))));
}
const none = { duration: 0, size: 0, flags: 0 };
const wvtt = (at, samples) => wvttCues(samplesOf(segment(at, samples), none).samples, 1000);

test('init segments of timed text', () => {
  const init = (entry) => bytes(box('moov', box('trak', box('mdia', box('mdhd', zeros(12), u32(1000), zeros(4)), box('minf', box('stbl', box('stsd', zeros(4), u32(1), entry)))))));
  assert.deepEqual(readInit(init(box('wvtt', zeros(8), box('vttC', 'WEBVTT')))).codecs, 'wvtt');
  assert.deepEqual(readInit(init(box('stpp', zeros(8), 'http://www.w3.org/ns/ttml\0\0\0'))).timescale, 1000);
});

test('cues of WebVTT in samples', () => {
  assert.deepEqual(wvtt(4000, [[500, vtte], [1000, vttc('one')], [500, bytes(vttc('one'), vttc('two <b>b</b>', 'line:10% align:start'))]]), [
    { from: 4.5, to: 6, text: 'one', settings: {} },
    { from: 5.5, to: 6, text: 'two <b>b</b>', settings: { line: 10, snapToLines: false, align: 'start' } },
  ]);
  assert.deepEqual(wvtt(0, [[1, box('vttc')], [1, [0, 0, 0]], [1, box('vttx', 'x')]]), []);
});

test('WebVTT cue settings', () => {
  for (const [text, want] of [
    ['line:-2 position:30%,line-left size:50% align:right', { line: -2, snapToLines: true, position: 30, positionAlign: 'line-left', size: 50, align: 'right' }],
    ['vertical:rl line:84%,end', { vertical: 'rl', line: 84, snapToLines: false, lineAlign: 'end' }],
    ['line:x position:101% size:-1% align:middle region:a  junk', {}],
    ['', {}],
  ]) assert.deepEqual(settingsOf(text), want, text);
});

const tt = (body, head = '', root = '') => `<?xml version="1.0"?><tt xmlns="http://www.w3.org/ns/ttml" xmlns:tts="http://www.w3.org/ns/ttml#styling" ${root}><head>${head}</head><body>${body}</body></tt>`;
const regions = `<styling><style xml:id="s" tts:fontStyle="italic" tts:textAlign="center"/></styling>
  <layout><region xml:id="top" tts:origin="10% 5%" tts:extent="80% 20%" tts:displayAlign="before"/><region xml:id="bottom" tts:origin="64px 576px" tts:extent="1152px 126px" tts:displayAlign="after" style="s"/></layout>`;

test('cues of TTML', () => {
  assert.deepEqual(ttmlCues(tt('<div><p begin="00:00:01.500" end="2s">One &amp; <span tts:fontWeight="bold">two</span><br/>\n  three</p><p begin="3s"></p></div>')), [
    { from: 1.5, to: 2, text: 'One &amp; <b>two</b>\nthree', settings: {} },
  ]);
  assert.deepEqual(ttmlCues(tt('<div begin="10s" region="top"><p begin="1s" dur="2s">a</p><p begin="4s" end="5s" region="bottom"><span>b</span></p></div>', regions, 'tts:extent="1280px 720px"')), [
    { from: 11, to: 13, text: 'a', settings: { size: 80, position: 50, line: 5, snapToLines: false, lineAlign: 'start' } },
    { from: 14, to: 15, text: 'b', settings: { align: 'center', size: 90, position: 50 } },
  ]);
  // Spans with times of their own; a line that is kept as it is; a namespace with a prefix.
  assert.deepEqual(ttmlCues(tt('<div><p begin="1s"><span end="1s">a</span><span begin="1s" end="2s"><span tts:fontStyle="italic">b</span></span></p></div>')).map((c) => [c.from, c.to, c.text]), [[1, 2, 'a'], [2, 3, '<i>b</i>']]);
  assert.equal(ttmlCues(tt('<div><p end="1s" xml:space="preserve">a  b</p></div>'))[0].text, 'a  b');
  assert.equal(ttmlCues('<t:tt xmlns:t="http://www.w3.org/ns/ttml"><t:body><t:div><t:p end="1s"><![CDATA[x < y]]></t:p></t:div></t:body></t:tt>')[0].text, 'x &lt; y');
  for (const wrong of ['', 'text', '<tt>', '<tt></p></tt>', '<html/>', '<tt/><tt/>', '<tt a=b/>']) assert.throws(() => ttmlCues(wrong), RangeError, wrong);
});

test('times of TTML', () => {
  const clock = { frames: 25, ticks: 1000 };
  for (const [text, want] of [['01:02:03.25', 3723.25], ['498755:00:01', 1795518001], ['00:00:01:05', 1.2], ['1.5h', 5400], ['90m', 5400], ['250ms', 0.25], ['50f', 2], ['1500t', 1.5], ['1', null], ['', null], ['-1s', null]]) {
    assert.equal(timeOf(text, clock), want, text);
  }
});

test('documents are shown while their samples last', () => {
  const stpp = (at, duration, text) => stppCues(samplesOf(segment(at, [[duration, bytes(text)]], [box('subs', zeros(8))]), none).samples, 1000).map((c) => [c.from, c.to, c.text]);
  const two = '<div><p begin="99s" end="101s">a</p><p begin="101.5s" end="109s">b</p><p begin="200s" end="300s">c</p></div>';
  assert.deepEqual(stpp(100_000, 2000, tt(two)), [[100, 101, 'a'], [101.5, 102, 'b']]);
  assert.deepEqual(stpp(100_000, 2000, tt('<div><p begin="0.5s" end="1s">from the sample on</p></div>')), [[100.5, 101, 'from the sample on']]);
  assert.deepEqual(stpp(100_000, 2000, tt('<div><p>all the time</p></div>')), [[100, 102, 'all the time']]);
  assert.deepEqual(stpp(100_000, 2000, tt('')), []);
});

test('XML of others is bounded', () => {
  assert.throws(() => elementsOf('<a>'.repeat(100) + '</a>'.repeat(100)), RangeError);
  assert.throws(() => elementsOf(`<a>${'<b/>'.repeat(20_001)}</a>`), RangeError);
  assert.deepEqual(elementsOf('<!DOCTYPE a><a x="&quot;&#65;&#x42;&unknown;"><!-- c --><b/>t</a>').attributes, [['x', '"AB&unknown;']]);
});

// Each of these would take a page minutes, or for ever, were it read naively.
test('hostile documents take no longer than others', () => {
  const spaces = ' '.repeat(300_000);
  assert.deepEqual(ttmlCues(tt(`<p>a${spaces}b<br/>${spaces}</p>`, '', 'xml:space="preserve"')).map((c) => c.text.length), [300_002]);
  const styles = Array.from({ length: 30 }, (_, i) => `<style xml:id="s${i}" style="${Array.from({ length: 30 }, (_, k) => `s${k}`).join(' ')}"/>`).join('');
  assert.equal(ttmlCues(tt('<p style="s0">x</p>', styles)).length, 1);
  assert.equal(ttmlCues(tt('<p style="s29">x</p>', `${styles}<style xml:id="s7" tts:fontStyle="italic"/>`))[0].text, '<i>x</i>');
  for (const open of ['<!--x>', '<![CDATA[x>']) assert.throws(() => elementsOf(`<tt>${open.repeat(100_000)}</tt>`), RangeError);
  const over = Array.from({ length: 200 }, () => box('trun', u32(0x000201), u32(1), u32(0), u32(200))); // the same bytes each time
  assert.throws(() => samplesOf(segment(0, [[1000, vttc('one')]], over), none), /more bytes than the segment has/);
});

test('a cue never lies where no cue may', () => {
  const right = '<region xml:id="r" tts:origin="60% 5%" tts:extent="80% 20%" tts:textAlign="right"/>';
  assert.equal(ttmlCues(tt('<p region="r">x</p>', right))[0].settings.position, 100);
});
