// Structured field values for HTTP, RFC 9651: the parsing half (section 4.2).
//
// A bare item becomes: integer and decimal a number, string a string, token a
// Token, byte sequence a Uint8Array, boolean a boolean, date a Date, display
// string a DisplayString. Parameters are a Map in order of appearance.
// Anything malformed throws SyntaxError: section 4.2 says that such a field is
// to be ignored as a whole, never read in part.

export class Token {
  constructor(name) {
    this.name = name;
  }
  toString() {
    return this.name;
  }
}

export class DisplayString {
  constructor(text) {
    this.text = text;
  }
  toString() {
    return this.text;
  }
}

const isDigit = (c) => c >= '0' && c <= '9';
const isLower = (c) => c >= 'a' && c <= 'z';
const isAlpha = (c) => isLower(c) || (c >= 'A' && c <= 'Z');
const isTchar = (c) => c !== '' && (isDigit(c) || isAlpha(c) || "!#$%&'*+-.^_`|~".includes(c));

class Reader {
  constructor(text) {
    this.text = text;
    this.at = 0;
  }
  // The next character, or '' at the end.
  peek() {
    return this.at < this.text.length ? this.text[this.at] : '';
  }
  take() {
    const c = this.peek();
    this.at++;
    return c;
  }
  skip(chars) {
    while (this.peek() !== '' && chars.includes(this.peek())) this.at++;
  }
  get done() {
    return this.at >= this.text.length;
  }
  fail(what) {
    throw new SyntaxError(`structured field: ${what} at ${this.at} of ${JSON.stringify(this.text)}`);
  }
}

// parseList returns [{value, params}], where value is a bare item or, for an
// inner list, an array of {value, params}.
export function parseList(text) {
  return whole(text, (r) => {
    const members = [];
    while (!r.done) {
      members.push(itemOrInnerList(r));
      if (!nextMember(r)) break;
    }
    return members;
  });
}

// parseDictionary returns a Map from key to {value, params}. A later member
// of the same key replaces the earlier one.
export function parseDictionary(text) {
  return whole(text, (r) => {
    const members = new Map();
    while (!r.done) {
      const name = key(r);
      let member;
      if (r.peek() === '=') {
        r.take();
        member = itemOrInnerList(r);
      } else {
        member = { value: true, params: parameters(r) };
      }
      members.delete(name);
      members.set(name, member);
      if (!nextMember(r)) break;
    }
    return members;
  });
}

// parseItem returns {value, params}.
export function parseItem(text) {
  return whole(text, item);
}

function whole(text, parse) {
  const r = new Reader(text);
  r.skip(' ');
  const result = parse(r);
  r.skip(' ');
  if (!r.done) r.fail('unexpected character');
  return result;
}

// Between members: optional white space, a comma, optional white space. False
// when the field ends instead; a trailing comma is an error.
function nextMember(r) {
  r.skip(' \t');
  if (r.done) return false;
  if (r.take() !== ',') {
    r.at--;
    r.fail('no comma');
  }
  r.skip(' \t');
  if (r.done) r.fail('trailing comma');
  return true;
}

function itemOrInnerList(r) {
  return r.peek() === '(' ? innerList(r) : item(r);
}

function innerList(r) {
  r.take();
  const items = [];
  for (;;) {
    r.skip(' ');
    if (r.done) r.fail('unclosed inner list');
    if (r.peek() === ')') {
      r.take();
      return { value: items, params: parameters(r) };
    }
    items.push(item(r));
    if (r.peek() !== ' ' && r.peek() !== ')') r.fail('items of an inner list must be separated');
  }
}

function item(r) {
  const value = bareItem(r);
  return { value, params: parameters(r) };
}

function parameters(r) {
  const params = new Map();
  while (r.peek() === ';') {
    r.take();
    r.skip(' ');
    const name = key(r);
    let value = true;
    if (r.peek() === '=') {
      r.take();
      value = bareItem(r);
    }
    params.delete(name);
    params.set(name, value);
  }
  return params;
}

function key(r) {
  const from = r.at;
  if (!isLower(r.peek()) && r.peek() !== '*') r.fail('bad key');
  while (isLower(r.peek()) || isDigit(r.peek()) || (r.peek() !== '' && '_-.*'.includes(r.peek()))) r.take();
  return r.text.slice(from, r.at);
}

function bareItem(r) {
  const c = r.peek();
  if (c === '-' || isDigit(c)) return number(r).value;
  if (c === '"') return string(r);
  if (c === ':') return byteSequence(r);
  if (c === '?') return boolean(r);
  if (c === '@') return date(r);
  if (c === '%') return displayString(r);
  if (c === '*' || isAlpha(c)) return token(r);
  return r.fail('no item');
}

// At most 15 digits, or 12 before and 1 to 3 after the point: every integer
// is exact in a double.
function number(r) {
  const from = r.at;
  if (r.peek() === '-') r.take();
  if (!isDigit(r.peek())) r.fail('no digit');
  const digits = r.at;
  while (isDigit(r.peek())) r.take();
  const whole = r.at - digits;
  let decimal = false;
  if (r.peek() === '.') {
    decimal = true;
    if (whole > 12) r.fail('too many digits before the point');
    r.take();
    const fraction = r.at;
    while (isDigit(r.peek())) r.take();
    if (r.at === fraction) r.fail('no digit after the point');
    if (r.at - fraction > 3) r.fail('too many digits after the point');
  } else if (whole > 15) {
    r.fail('too many digits');
  }
  return { value: Number(r.text.slice(from, r.at)), decimal };
}

function string(r) {
  r.take();
  let out = '';
  for (;;) {
    if (r.done) r.fail('unclosed string');
    const c = r.take();
    if (c === '"') return out;
    if (c === '\\') {
      const escaped = r.take();
      if (escaped !== '"' && escaped !== '\\') r.fail('bad escape');
      out += escaped;
    } else if (c < ' ' || c > '~') {
      r.fail('bad character in a string');
    } else {
      out += c;
    }
  }
}

function token(r) {
  const from = r.at;
  r.take();
  while (isTchar(r.peek()) || r.peek() === ':' || r.peek() === '/') r.take();
  return new Token(r.text.slice(from, r.at));
}

function byteSequence(r) {
  r.take();
  const end = r.text.indexOf(':', r.at);
  if (end < 0) r.fail('unclosed byte sequence');
  const base64 = r.text.slice(r.at, end);
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(base64)) r.fail('bad character in a byte sequence');
  let binary;
  try {
    // Missing padding is synthesised, as section 4.2.7 allows.
    binary = atob(base64);
  } catch {
    r.fail('bad byte sequence');
  }
  r.at = end + 1;
  return Uint8Array.from(binary, (c) => c.charCodeAt(0));
}

function boolean(r) {
  r.take();
  const c = r.take();
  if (c !== '0' && c !== '1') r.fail('bad boolean');
  return c === '1';
}

function date(r) {
  r.take();
  const { value, decimal } = number(r);
  if (decimal) r.fail('a date is a whole number of seconds');
  return new Date(value * 1000);
}

function displayString(r) {
  r.take();
  if (r.take() !== '"') r.fail('bad display string');
  const bytes = [];
  for (;;) {
    if (r.done) r.fail('unclosed display string');
    const c = r.take();
    if (c === '"') break;
    if (c < ' ' || c > '~') r.fail('bad character in a display string');
    if (c === '%') {
      const hex = r.take() + r.take();
      if (!/^[0-9a-f]{2}$/.test(hex)) r.fail('bad escape');
      bytes.push(parseInt(hex, 16));
    } else {
      bytes.push(c.charCodeAt(0));
    }
  }
  try {
    return new DisplayString(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Uint8Array.from(bytes)));
  } catch {
    return r.fail('a display string that is not UTF-8');
  }
}
