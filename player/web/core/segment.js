// One GET, with a named outcome:
//
//   segment   200; all bytes are there and, where a digest came, verified
//   later     404 that says until when it holds: ask again after waitMS
//   lost      410: it will never come
//   busy      503 or another 5xx: ask again after waitMS
//   refused   any other status
//   corrupt   200, but the bytes do not match their Content-Digest
//   failed    no answer, or one that broke off
//   abandoned keepGoing said to stop; received (bytes) came in downloadMS
//   cancelled the caller's signal was aborted
//
// Each result has outcome, status, headers (null without an answer) and, for
// a segment, bytes, heldMS (asked to first byte), downloadMS (first byte to
// last) and verified.

import { digestOf, freshnessOf, retryAfterOf } from './headers.js';

// A body that brings nothing for this long is dead.
const IDLE_MS = 4000;

// get asks for url. firstByteMS bounds the wait for an answer: at the live
// edge that is the server's hold. keepGoing({received, total, elapsed}) is
// asked after each chunk; fetcher, now and digest are for tests.
export async function get(url, {
  signal,
  firstByteMS = 10_000,
  fresh = false,
  keepGoing = () => true,
  fetcher = (u, o) => fetch(u, o),
  now = () => performance.now(),
  digest = sha256,
} = {}) {
  const stop = new AbortController();
  const forward = () => stop.abort();
  signal?.addEventListener('abort', forward, { once: true });
  if (signal?.aborted) stop.abort();
  let timer = setTimeout(forward, firstByteMS);
  const asked = now();
  let headers = null;
  let status = 0;
  try {
    const response = await fetcher(url, { signal: stop.signal, cache: fresh ? 'reload' : 'default', credentials: 'omit' });
    const first = now();
    clearTimeout(timer);
    ({ headers, status } = response);
    const answer = { status, headers, heldMS: first - asked };
    if (status !== 200) {
      // Read to the end: the connection is only reused then.
      response.arrayBuffer().catch(() => {});
      return { ...answer, ...refusal(status, headers) };
    }
    const total = Number(headers.get('Content-Length')) || 0;
    const reader = response.body.getReader();
    const chunks = [];
    let received = 0;
    for (;;) {
      timer = setTimeout(forward, IDLE_MS);
      const { done, value } = await reader.read();
      clearTimeout(timer);
      if (done) break;
      chunks.push(value);
      received += value.byteLength;
      if (!keepGoing({ received, total, elapsed: (now() - first) / 1000 })) {
        stop.abort();
        return { ...answer, outcome: 'abandoned', received, downloadMS: now() - first };
      }
    }
    const downloadMS = now() - first;
    const bytes = join(chunks, received);
    const claimed = digestOf(headers);
    const verified = claimed ? await digest(bytes, claimed) : null;
    if (verified === false) return { ...answer, outcome: 'corrupt', error: 'the bytes do not match their digest' };
    return { ...answer, outcome: 'segment', bytes, downloadMS, verified: verified === true };
  } catch (error) {
    if (signal?.aborted) return { outcome: 'cancelled', status, headers };
    const reason = stop.signal.aborted ? (status ? 'the answer broke off' : 'no answer in time') : (error?.message ?? String(error));
    return { outcome: 'failed', status, headers, error: reason };
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', forward);
  }
}

function refusal(status, headers) {
  if (status === 404) return { outcome: 'later', waitMS: freshnessOf(headers) ?? 1000 };
  if (status === 410) return { outcome: 'lost' };
  if (status === 503) return { outcome: 'busy', waitMS: retryAfterOf(headers) ?? freshnessOf(headers) ?? 1000 };
  if (status >= 500 || status === 429) return { outcome: 'busy', waitMS: retryAfterOf(headers) ?? 1000 };
  return { outcome: 'refused', error: `status ${status}` };
}

function join(chunks, length) {
  if (chunks.length === 1) return chunks[0];
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.byteLength;
  }
  return bytes;
}

// True, false, or null where the page is not in a secure context and the
// platform offers no digests.
async function sha256(bytes, claimed) {
  if (!globalThis.crypto?.subtle) return null;
  const actual = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  return actual.every((b, i) => b === claimed[i]);
}

// backoff is how long to wait before attempt k (1, 2, ...) after failures, in
// milliseconds: doubling from a quarter of a second to two, with jitter so
// that the viewers of a restarted edge do not return in step.
export function backoff(attempt, random = Math.random) {
  const most = Math.min(2000, 250 * 2 ** (attempt - 1));
  return most / 2 + (random() * most) / 2;
}
