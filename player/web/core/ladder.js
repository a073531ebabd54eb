// Which video rendition to ask for next. Pure.

// What share of the measured throughput a rendition may need: less to climb
// than to stay, so that a network at the boundary does not make it oscillate.
const CLIMB = 0.7;
const STAY = 0.9;
// The part of the slack that a download may take.
const SLACK_SHARE = 0.8;

// choose picks from renditions ({name, bandwidth} in bits per second, any
// order). current is the name of the one in use, or null. estimate is
// measured bits per second. segment is a segment's length in seconds. slack is
// how many seconds a download may take before playback would run dry.
// Returns {rendition, reason}, the reason for people.
export function choose({ renditions, current, estimate, segment, slack }) {
  const ladder = [...renditions].sort((a, b) => a.bandwidth - b.bandwidth);
  const at = ladder.findIndex((r) => r.name === current);
  let best = ladder[0];
  for (const [i, r] of ladder.entries()) {
    const share = i > at ? CLIMB : STAY;
    const seconds = downloadSeconds(r, segment, estimate);
    if (r.bandwidth <= estimate * share && seconds <= slack * SLACK_SHARE) best = r;
  }
  const to = ladder.indexOf(best);
  let reason = 'steady';
  if (at < 0) reason = 'first choice';
  else if (to > at) reason = 'the network allows more';
  else if (to < at) reason = ladder[at].bandwidth > estimate * STAY ? 'the network is slower' : 'too little time at the live edge';
  return { rendition: best, reason };
}

// How long one segment of a rendition takes to arrive, in seconds.
export function downloadSeconds(rendition, segment, estimate) {
  return estimate > 0 ? (rendition.bandwidth * segment) / estimate : Infinity;
}

// shouldAbandon says whether to give up a download and take a lower rendition
// instead: when the rest of it would outlast the buffer and all of the lower
// one would come sooner. received and total are bytes, elapsed seconds since
// the first byte, ahead seconds of media still buffered, lowerBytes the size
// to expect of the lower rendition.
export function shouldAbandon({ received, total, elapsed, ahead, lowerBytes }) {
  if (!(total > 0) || received <= 0 || elapsed < 0.4) return false;
  const speed = received / elapsed;
  const rest = (total - received) / speed;
  return rest > ahead && lowerBytes / speed < rest * 0.8;
}
