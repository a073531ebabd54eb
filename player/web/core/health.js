// What a viewer is told of the picture as a whole, decided in one place: nothing
// on the page may say that all is well while there is nothing to see. Pure.
//
//   connected  the event is known
//   trouble    the edge cannot be reached, or refuses: {what}, or null
//   stands     the picture stands now though it should move
//   lost       how many segments are lost from the playhead on, without a break
//   ahead      how many are lost anywhere from the playhead on
//   defects    of the segment on screen
//
// tone is good, wait, warn or bad.
export function healthOf({ connected, trouble, stands, lost, ahead, defects }) {
  if (trouble) return { tone: 'bad', words: stands ? 'No picture: reconnecting' : 'Reconnecting' };
  if (!connected) return { tone: 'wait', words: 'Connecting' };
  if (stands && lost) return { tone: 'bad', words: `No picture: ${segments(lost)} lost` };
  if (stands) return { tone: 'bad', words: 'The picture stands' };
  if (ahead) return { tone: 'warn', words: `${segments(ahead)} lost` };
  const wanting = WANTING.find(([kind]) => defects.some((d) => d.kind === kind));
  if (wanting) return { tone: 'warn', words: wanting[1] };
  if (defects.length) return { tone: 'warn', words: 'Defects on screen' };
  return { tone: 'good', words: 'Connected' };
}

// What is whole but not worth seeing or hearing, the worst first.
const WANTING = [['black', 'The picture is black'], ['frozen', 'The picture is frozen'], ['silent', 'There is no sound']];

function segments(n) {
  return n === 1 ? '1 segment' : `${n} segments`;
}

// lostFrom counts the segments that are lost from number n on to the newest one:
// those without a break from n, and all. isLost says it of one.
export function lostFrom(n, newest, isLost) {
  let lost = 0;
  let ahead = 0;
  for (let i = n; i <= newest; i++) {
    if (!isLost(i)) continue;
    ahead++;
    if (lost === i - n) lost++;
  }
  return { lost, ahead };
}
