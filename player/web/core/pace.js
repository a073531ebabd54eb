// How fast to play, so that the latency stays where it should be. Pure.

// Within this of the target nothing is corrected; a correction that has begun
// goes on until it is within CALM. Seconds.
const TOLERANCE = 0.1;
const CALM = 0.03;
// Pitch-corrected speech sounds natural within these; a viewer who is far
// behind is brought back a little faster.
const SLOWEST = 0.94;
const FASTEST = 1.06;
const HASTE = 1.1;
const FAR_BEHIND = 1;
// Correct a deviation over about this many seconds.
const OVER_SECONDS = 6;
// Never run faster into a buffer that is nearly empty. Seconds.
const SAFE_AHEAD = 0.35;

// pace returns the playback rate for a latency and a target in seconds, with
// ahead seconds of media buffered and the rate now in use. Rates come in steps
// of half a percent: each change costs the audio path a little.
export function pace({ latency, target, ahead, rate }) {
  const behind = latency - target;
  const correcting = rate !== 1;
  if (Math.abs(behind) <= (correcting ? CALM : TOLERANCE)) return 1;
  // A correction that overshot ends; the next one begins past the tolerance.
  if ((behind > 0 && rate < 1) || (behind < 0 && rate > 1)) return 1;
  if (behind > 0 && ahead < SAFE_AHEAD) return 1;
  const wanted = 1 + behind / OVER_SECONDS;
  const stepped = Math.round(wanted * 200) / 200;
  const least = behind > 0 ? 1.01 : SLOWEST;
  const most = behind > FAR_BEHIND ? HASTE : behind > 0 ? FASTEST : 0.99;
  return Math.min(most, Math.max(least, stepped));
}

// farOff says whether to jump rather than to correct by the rate.
export function farOff({ latency, target, segment }) {
  return Math.abs(latency - target) > Math.max(2.5, 1.25 * segment);
}

// autoTarget is the latency, in seconds, that can be held: one whole segment
// has to be there before its first frame is due, so the latency is a segment,
// the time from a segment's last frame to its last byte here, and a margin.
// delays are recent such times in seconds; expected what to believe of them
// before any was seen.
export function autoTarget({ segment, delays, expected, margin = 0.5, most = 12 }) {
  const delay = delays.length ? Math.max(...delays) : expected;
  // Steps of a tenth, so that noise moves nothing.
  return Math.min(most, Math.ceil((segment + Math.max(delay, expected) + margin) * 10) / 10);
}

// lowestTarget is the least that makes sense to ask for.
export const lowestTarget = (segment) => Math.ceil((segment + 0.3) * 10) / 10;
