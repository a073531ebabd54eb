// The curve of the latency over the last two minutes, with its target, and
// bars where the picture stood or jumped.

const SPAN_MS = 120_000;
const STEP_MS = 250;

export class Spark {
  constructor(canvas, player) {
    this.canvas = canvas;
    this.player = player;
    this.points = [];
    this.events = [];
    const css = getComputedStyle(document.documentElement);
    this.colours = Object.fromEntries(['accent', 'bad', 'warn', 'faint'].map((n) => [n, css.getPropertyValue(`--${n}`).trim()]));
    player.journal.listeners.add((entry) => {
      if (entry.kind === 'stall' && entry.level === 'bad') this.events.push({ at: performance.now(), colour: this.colours.bad });
      if (entry.kind === 'gap' && entry.text.startsWith('Jumped')) this.events.push({ at: performance.now(), colour: this.colours.warn });
    });
  }

  update(latency) {
    const now = performance.now();
    if (now - (this.points.at(-1)?.at ?? 0) < STEP_MS) return;
    const following = this.player.follow;
    this.points.push({ at: now, latency, target: following && latency !== null ? this.player.target : null });
    while (this.points[0]?.at < now - SPAN_MS) this.points.shift();
    while (this.events[0]?.at < now - SPAN_MS) this.events.shift();
    this.#draw(now);
  }

  #draw(now) {
    const { canvas } = this;
    const scale = Math.min(2, devicePixelRatio || 1);
    const width = canvas.clientWidth;
    const height = canvas.clientHeight;
    if (!width) return;
    if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(height * scale);
    }
    const ctx = canvas.getContext('2d');
    ctx.setTransform(scale, 0, 0, scale, 0, 0);
    ctx.clearRect(0, 0, width, height);
    const known = this.points.filter((p) => p.latency !== null);
    const values = known.flatMap((p) => (p.target === null ? [p.latency] : [p.latency, p.target]));
    if (values.length < 2) return;
    // At least a second and a half from bottom to top: noise is not drama.
    let low = Math.min(...values);
    let high = Math.max(...values);
    const middle = (low + high) / 2;
    low = Math.max(0, Math.min(low - 0.2, middle - 0.75));
    high = Math.max(high + 0.2, middle + 0.75);
    const x = (at) => width - ((now - at) / SPAN_MS) * width;
    const y = (v) => height - 2 - ((v - low) / (high - low)) * (height - 4);

    for (const e of this.events) {
      ctx.fillStyle = e.colour;
      ctx.globalAlpha = 0.55;
      ctx.fillRect(x(e.at) - 1, 0, 2, height);
    }
    ctx.globalAlpha = 1;
    ctx.strokeStyle = this.colours.faint;
    ctx.lineWidth = 1;
    ctx.setLineDash([3, 4]);
    this.#line(ctx, known, x, (p) => (p.target === null ? null : y(p.target)));
    ctx.stroke();
    ctx.setLineDash([]);

    this.#line(ctx, this.points, x, (p) => (p.latency === null ? null : y(p.latency)));
    ctx.strokeStyle = this.colours.accent;
    ctx.lineWidth = 1.8;
    ctx.lineJoin = 'round';
    ctx.stroke();
    // The area under the curve, fading out.
    ctx.lineTo(x(known.at(-1).at), height);
    ctx.lineTo(x(known[0].at), height);
    const fill = ctx.createLinearGradient(0, 0, 0, height);
    fill.addColorStop(0, 'rgb(92 214 236 / .22)');
    fill.addColorStop(1, 'rgb(92 214 236 / 0)');
    ctx.fillStyle = fill;
    ctx.fill();
  }

  #line(ctx, points, x, y) {
    ctx.beginPath();
    let open = false;
    for (const p of points) {
      const at = y(p);
      if (at === null) open = false;
      else if (open) ctx.lineTo(x(p.at), at);
      else {
        ctx.moveTo(x(p.at), at);
        open = true;
      }
    }
  }
}
