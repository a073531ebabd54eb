import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DisplayString, Token, parseDictionary, parseItem, parseList } from '../web/core/sfv.js';

const value = (text) => parseItem(text).value;
const plain = (v) => (v instanceof Token || v instanceof DisplayString ? String(v) : v instanceof Uint8Array ? [...v] : v instanceof Date ? v.getTime() : v);

test('bare items', () => {
  const cases = [
    ['42', 42], ['-42', -42], ['0', 0], ['007', 7], ['999999999999999', 999999999999999],
    ['4.5', 4.5], ['-0.125', -0.125], ['123456789012.123', 123456789012.123],
    ['"hello world"', 'hello world'], ['"a \\"b\\" \\\\ c"', 'a "b" \\ c'], ['""', ''],
    ['foo', 'foo'], ['*foo123/456', '*foo123/456'], ['a:b', 'a:b'], ["t!#$%&'*+-.^_`|~1", "t!#$%&'*+-.^_`|~1"],
    [':cHJldGVuZA==:', [...Buffer.from('pretend')]], ['::', []], [':cHJldGVuZA:', [...Buffer.from('pretend')]],
    ['?1', true], ['?0', false],
    ['@1659578233', 1659578233000], ['@-1', -1000],
    ['%"f%c3%bc%c3%bc"', 'füü'], ['%"100%25"', '100%'],
    ['   7  ', 7],
  ];
  for (const [text, want] of cases) assert.deepEqual(plain(value(text)), want, text);
  assert.ok(value('foo') instanceof Token);
  assert.ok(value('%"x"') instanceof DisplayString);
});

test('malformed items are refused', () => {
  const cases = [
    '', ' ', '-', '--1', '1.', '.1', '1.1234', '1234567890123.1', '1234567890123456', '1 2', '1,2',
    '"', '"a', '"a\\x"', '"a\\', '"\u00fc"', '"\u0001"', "'a'", 'a b', 'a"', 'ä',
    ':', ':a', ':aGk_:', ':a b:', '?', '?2', '?true', '@', '@1.5', '@x',
    '%', '%a', '%"', '%"%', '%"%C3%BC"', '%"%c3"', '%"%zz"', '%"ü"',
    '(1)', '1;', '1;A=1', '1;a=', '1;=2', '1; ', '{',
  ];
  for (const text of cases) assert.throws(() => parseItem(text), SyntaxError, JSON.stringify(text));
});

test('parameters', () => {
  const { value: name, params } = parseItem('short;ms=400; n=12;deep;x="y";x=?0');
  assert.equal(String(name), 'short');
  assert.deepEqual([...params], [['ms', 400], ['n', 12], ['deep', true], ['x', false]]);
});

test('lists', () => {
  assert.deepEqual(parseList(''), []);
  assert.deepEqual(parseList('  '), []);
  assert.deepEqual(parseList('1, 2 ,\t3,4').map((m) => m.value), [1, 2, 3, 4]);
  const [inner] = parseList('("a" b;x=1  1.5 );lvl=5, ()');
  assert.deepEqual(inner.value.map((m) => plain(m.value)), ['a', 'b', 1.5]);
  assert.equal(inner.value[1].params.get('x'), 1);
  assert.equal(inner.params.get('lvl'), 5);
  for (const text of ['1,', ',', '1,,2', '1 2', '(1', '(1 2', '("a""b")', '(1,2)', '1;a=(1)']) {
    assert.throws(() => parseList(text), SyntaxError, text);
  }
});

test('dictionaries', () => {
  const d = parseDictionary('sha-256=:AQID:, a, b;x=1, c=(1 2), a=?0, *k=1.5');
  assert.deepEqual([...d.keys()], ['sha-256', 'b', 'c', 'a', '*k']);
  assert.deepEqual([...d.get('sha-256').value], [1, 2, 3]);
  assert.equal(d.get('b').value, true);
  assert.equal(d.get('b').params.get('x'), 1);
  assert.equal(d.get('a').value, false);
  for (const text of ['a=', 'A=1', 'a=1,', 'a 1', '1=a', 'a==1']) assert.throws(() => parseDictionary(text), SyntaxError, text);
});

test('anything at all either parses or throws SyntaxError', () => {
  const alphabet = ' \t"\\:;,=?@%()*-.0129aAzé\u0000';
  let seed = 12345;
  const random = (n) => (seed = (seed * 1103515245 + 12345) % 2147483648) % n;
  for (let i = 0; i < 20_000; i++) {
    const text = Array.from({ length: random(12) }, () => alphabet[random(alphabet.length)]).join('');
    for (const parse of [parseItem, parseList, parseDictionary]) {
      try {
        parse(text);
      } catch (error) {
        assert.ok(error instanceof SyntaxError, `${JSON.stringify(text)}: ${error.stack}`);
      }
    }
  }
});
