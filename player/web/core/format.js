// Numbers and times for people. Pure.

export function bits(perSecond) {
  if (!(perSecond > 0)) return '–';
  if (perSecond >= 1e9) return `${(perSecond / 1e9).toFixed(1)} Gb/s`;
  if (perSecond >= 1e8) return `${Math.round(perSecond / 1e6)} Mb/s`;
  if (perSecond >= 1e6) return `${(perSecond / 1e6).toFixed(1)} Mb/s`;
  return `${Math.round(perSecond / 1e3)} kb/s`;
}

export function ms(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return '–';
  if (value < 10) return `${value.toFixed(1)} ms`;
  if (value < 1000) return `${Math.round(value)} ms`;
  return `${(value / 1000).toFixed(value < 10_000 ? 2 : 1)} s`;
}

// 0:07, 12:34, 1:02:03.
export function duration(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  const two = (n) => String(n).padStart(2, '0');
  const h = Math.floor(s / 3600);
  const m = Math.floor(s / 60) % 60;
  return h ? `${h}:${two(m)}:${two(s % 60)}` : `${m}:${two(s % 60)}`;
}

// A duration as it is spoken, for screen readers.
export function spoken(seconds) {
  const s = Math.max(0, Math.round(seconds));
  const parts = [
    [Math.floor(s / 3600), 'hour'],
    [Math.floor(s / 60) % 60, 'minute'],
    [s % 60, 'second'],
  ].filter(([n]) => n > 0);
  return parts.length ? parts.map(([n, unit]) => `${n} ${unit}${n === 1 ? '' : 's'}`).join(' ') : '0 seconds';
}

// 20:00:07 of UTC.
export function clock(ms) {
  return Number.isFinite(ms) ? new Date(ms).toISOString().slice(11, 19) : '--:--:--';
}

// What a rendition is called in a menu.
export function renditionName(r) {
  if (r.type === 'video') {
    if (!r.height) return r.name;
    const fps = frameRate(r.frame_rate);
    return `${r.height}p${fps && fps > 31 ? Math.round(fps) : ''}`;
  }
  if (r.label) return r.label;
  const what = r.role && r.role !== 'main' && r.role !== 'subtitle' ? r.role.replaceAll('-', ' ') : r.name;
  return r.language ? `${r.language} (${what})` : r.name;
}

function frameRate(text) {
  const [n, d = 1] = String(text ?? '').split('/').map(Number);
  return n > 0 && d > 0 ? n / d : 0;
}
