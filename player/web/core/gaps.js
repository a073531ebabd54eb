// Holes in what is buffered, and where to go on. Pure. Ranges are [from, to]
// in seconds, in order, as SourceBuffer.buffered has them.

// Browsers join what is near enough to play through: two ranges are always a
// hole, however small. This only absorbs rounding. Seconds.
const ROUNDING = 0.002;

// intersect is what all tracks have.
export function intersect(lists) {
  return lists.reduce((a, b) => {
    const out = [];
    for (const [from, to] of a) {
      for (const [from2, to2] of b) {
        const low = Math.max(from, from2);
        const high = Math.min(to, to2);
        if (high > low) out.push([low, high]);
      }
    }
    return out;
  });
}

// rangeAt is the range that holds a position, or begins within reach of it;
// null where there is none.
export function rangeAt(ranges, position, reach = 0.06) {
  return ranges.find(([from, to]) => position >= from - reach && position < to) ?? null;
}

// aheadOf is how many seconds can be played from a position without a hole;
// zero for a position that is in one.
export function aheadOf(ranges, position) {
  let end = position;
  for (const [from, to] of ranges) {
    if (to <= end) continue;
    if (from > end + ROUNDING) break;
    end = to;
  }
  return end - position;
}

// nextAfter is the first position behind a hole at which playback can go on,
// or null: the start of the first range that begins after position. A range
// too short to be worth a seek is not offered.
export function nextAfter(ranges, position, least = 0.2) {
  const next = ranges.find(([from, to]) => from > position && to - from >= least);
  return next ? next[0] : null;
}
