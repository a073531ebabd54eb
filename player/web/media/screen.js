// The media element and its MediaSource: attached, started over when the
// browser gives up on it, and asked where it is.

import { aheadOf, intersect } from '../core/gaps.js';
import { Sink } from './sink.js';

// Safari on phones has the managed kind only.
const Source = globalThis.ManagedMediaSource ?? globalThis.MediaSource;

export const supported = () => Boolean(Source);
export const supports = (mime) => Boolean(Source?.isTypeSupported(mime));

export class Screen {
  constructor(video) {
    this.video = video;
    this.source = null;
    this.sinks = new Map();
    this.address = null;
  }

  // open attaches a new MediaSource with a sink for each of tracks, a list of
  // {type, codecs}; what was there before is gone.
  async open(tracks, timestampOffset) {
    this.close();
    const source = new Source();
    this.source = source;
    const opened = new Promise((resolve) => source.addEventListener('sourceopen', resolve, { once: true }));
    this.video.disableRemotePlayback = true;
    this.address = URL.createObjectURL(source);
    this.video.src = this.address;
    await opened;
    if (this.source !== source) return false;
    source.duration = Infinity;
    for (const { type, codecs } of tracks) {
      this.sinks.set(type, new Sink({ mediaSource: source, type, codecs, timestampOffset, playhead: () => this.video.currentTime }));
    }
    return true;
  }

  close() {
    if (this.address) URL.revokeObjectURL(this.address);
    this.address = null;
    this.source = null;
    this.sinks.clear();
  }

  // What can be played: [[from, to], ...] in seconds.
  get ranges() {
    const lists = [...this.sinks.values()].map((s) => s.ranges);
    return lists.length ? intersect(lists) : [];
  }

  // How many seconds can be played from a position on.
  aheadOf(position) {
    return aheadOf(this.ranges, position);
  }

  // Lets the element seek anywhere in the DVR window, buffered or not.
  setSeekable(from, to) {
    if (this.source?.readyState !== 'open' || ![...this.sinks.values()].every((s) => !s.buffer.updating)) return;
    if (this.source.duration !== Infinity) return;
    if (to > from) this.source.setLiveSeekableRange(from, to);
  }

  // Says that nothing more will come, so that the element ends by itself.
  async end() {
    const source = this.source;
    await Promise.all([...this.sinks.values()].map((s) => s.idle()));
    if (source && source === this.source && source.readyState === 'open') source.endOfStream();
  }

  get ended() {
    return this.source?.readyState === 'ended';
  }

  get droppedFrames() {
    return this.video.getVideoPlaybackQuality?.().droppedVideoFrames ?? 0;
  }
  get totalFrames() {
    return this.video.getVideoPlaybackQuality?.().totalVideoFrames ?? 0;
  }
}
