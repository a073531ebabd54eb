// Reads XML of others into a tree: names, attributes, text. No more of it than timed text
// needs; entities of a document's own are not expanded, and depth and size are bounded.

const MOST_ELEMENTS = 20_000;
const DEEPEST = 64;
const NAMED = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };

// elementsOf returns the root, {name, attributes: [[name, value]], nodes, children}:
// nodes are children and strings in their order. Throws RangeError on what is no XML.
export function elementsOf(text) {
  const top = element('', []);
  const open = [top];
  let count = 0;
  const token = /<!--[\s\S]*?-->|<!\[CDATA\[([\s\S]*?)\]\]>|<\?[\s\S]*?\?>|<!(?!--|\[CDATA\[)[^>]*>|<\/([^\s>]+)\s*>|<([^\s/>!?][^\s/>]*)((?:\s+[^\s=>/]+\s*=\s*(?:"[^"]*"|'[^']*'))*)\s*(\/?)>|([^<]+)/gy;
  while (token.lastIndex < text.length) {
    const m = token.exec(text);
    if (!m) throw new RangeError('not well-formed XML');
    const [, data, closed, name, attributes, empty, plain] = m;
    const parent = open.at(-1);
    if (data !== undefined) parent.nodes.push(data);
    else if (plain !== undefined) parent.nodes.push(decode(plain));
    else if (closed !== undefined) {
      if (open.length < 2 || parent.name !== closed) throw new RangeError(`</${closed}> ends nothing`);
      open.pop();
    } else if (name !== undefined) {
      if (++count > MOST_ELEMENTS || open.length > DEEPEST) throw new RangeError('too many elements');
      const e = element(name, [...attributes.matchAll(/([^\s=]+)\s*=\s*(?:"([^"]*)"|'([^']*)')/g)].map((a) => [a[1], decode(a[2] ?? a[3])]));
      parent.nodes.push(e);
      parent.children.push(e);
      if (!empty) open.push(e);
    }
  }
  if (open.length > 1 || top.children.length !== 1) throw new RangeError('not one XML element');
  return top.children[0];
}

const element = (name, attributes) => ({ name, attributes, nodes: [], children: [] });

function decode(text) {
  return text.replace(/&(#x?[0-9a-fA-F]+|[a-z]+);/g, (all, name) => {
    if (name[0] !== '#') return NAMED[name] ?? all;
    const code = name[1] === 'x' ? parseInt(name.slice(2), 16) : parseInt(name.slice(1), 10);
    return code > 0 && code <= 0x10ffff ? String.fromCodePoint(code) : '';
  });
}
