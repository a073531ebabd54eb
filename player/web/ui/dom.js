// Small helpers around the DOM. Text always goes in as text: what comes from
// an event or an edge is never markup.

export const $ = (id) => document.getElementById(id);

// h makes an element. Properties that the element has are set as properties,
// others as attributes; children are nodes or strings.
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (key === 'class') element.className = value;
    else if (key === 'data') Object.assign(element.dataset, value);
    else if (key.startsWith('on')) element.addEventListener(key.slice(2), value);
    else if (key in element) element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

// setIcon shows one of the page's symbols in the first svg of an element.
export function setIcon(element, name) {
  const use = element.querySelector('use');
  if (use.getAttribute('href') !== `#i-${name}`) use.setAttribute('href', `#i-${name}`);
}

// The setters below touch the document only when something changed: they are
// called ten times a second.
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
export function setAttr(element, name, value) {
  if (value === null) {
    if (element.hasAttribute(name)) element.removeAttribute(name);
  } else if (element.getAttribute(name) !== String(value)) {
    element.setAttribute(name, value);
  }
}
export function setHidden(element, hidden) {
  if (element.hidden !== hidden) element.hidden = hidden;
}

// keep makes the children of a list one per item, by key: made once, updated
// each time, removed when the item is gone.
export function keep(parent, items, keyOf, make, update = () => {}) {
  const old = new Map([...parent.children].map((el) => [el.dataset.key, el]));
  let previous = null;
  for (const item of items) {
    const key = String(keyOf(item));
    let element = old.get(key);
    if (!element) {
      element = make(item);
      element.dataset.key = key;
    }
    old.delete(key);
    const place = previous ? previous.nextSibling : parent.firstChild;
    if (place !== element) parent.insertBefore(element, place);
    update(element, item);
    previous = element;
  }
  for (const element of old.values()) element.remove();
}

export const reducedMotion = () => matchMedia('(prefers-reduced-motion: reduce)').matches;

// Preferences, where the browser lets the page keep any.
export function recall(key, otherwise) {
  try {
    const value = JSON.parse(localStorage.getItem(`headwater.${key}`));
    return value ?? otherwise;
  } catch {
    return otherwise;
  }
}
export function remember(key, value) {
  try {
    localStorage.setItem(`headwater.${key}`, JSON.stringify(value));
  } catch {
    // Private windows refuse; nothing depends on it.
  }
}

// The colour class of a pipeline: by its place in the event's order.
export function pipelineColour(config, name) {
  const at = config?.pipelines?.findIndex((p) => p.name === name) ?? -1;
  return at < 0 ? 'var(--faint)' : `var(--p${at % 4})`;
}
