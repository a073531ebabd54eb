// Which init segment a segment has. Where an encoder came back otherwise a generation
// began at a number, from which on renditions have another (event.json's generations).

// initOf is the index of the generation whose init segment segment n of a rendition
// has; 0 is that of the beginning.
export function initOf(generations, rendition, n) {
  let index = 0;
  for (const g of generations ?? []) {
    if (g.from > n) break;
    if (g.renditions.some((r) => r.name === rendition)) index = g.index;
  }
  return index;
}

// initFile is its name below the rendition.
export const initFile = (index) => (index === 0 ? 'init.mp4' : `init.${index}.mp4`);
