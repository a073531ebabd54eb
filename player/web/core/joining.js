// When to join, and when to come back: pages that were opened for the same event, or
// lost the same edge, do it at times of their own, within the event's join_ms. Pure.

// joinDelay is how long to wait before the first segments are asked for, in
// milliseconds: while an event begins, until its first segment is expected and a part
// of the window.
export function joinDelay({ joinMS, firstMS, now }, random = Math.random) {
  if (!(joinMS > 0) || now >= firstMS + joinMS) return 0;
  return Math.max(firstMS - now, 0) + random() * joinMS;
}

// backDelay is how long to wait after the edge failed: at first no longer than a
// segment, since that may have been one connection; then a part of the window, since
// it fails for everybody, and will be back for everybody at once. least is what one
// would wait alone.
export function backDelay({ joinMS, segmentMS, failingMS, least }, random = Math.random) {
  if (!(joinMS > 0)) return least;
  const within = failingMS < segmentMS ? Math.min(joinMS, segmentMS) : joinMS;
  return Math.max(least, random() * within);
}
