/**
 * Rotated boxes as numbers: corners, areas, overlaps, the least rectangle around points.
 *
 * @typedef {import("./types.js").Box} Box
 * @typedef {import("./types.js").Point} Point
 */

/**
 * Return the corners of a box, in the order of `rbox_formats.rbox_to_quad`: clockwise on the screen.
 *
 * @param {Box} box
 * @returns {Point[]}
 */
export function cornersOf([cx, cy, w, h, angle]) {
  const cos = Math.cos(angle) / 2;
  const sin = Math.sin(angle) / 2;
  const [ux, uy, vx, vy] = [w * cos, w * sin, -h * sin, h * cos];
  return [
    [cx - ux - vx, cy - uy - vy],
    [cx + ux - vx, cy + uy - vy],
    [cx + ux + vx, cy + uy + vy],
    [cx - ux + vx, cy - uy + vy],
  ];
}

/**
 * Return the area of a polygon: above 0 where its corners run clockwise on the screen.
 *
 * @param {Point[]} polygon
 */
export function signedArea(polygon) {
  let twice = 0;
  // Relative to a corner: far from the origin the products would lose the digits that matter.
  const [x0, y0] = polygon[0] ?? [0, 0];
  for (let i = 1; i + 1 < polygon.length; i++) {
    const [x1, y1] = polygon[i];
    const [x2, y2] = polygon[i + 1];
    twice += (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0);
  }
  return twice / 2;
}

/**
 * Return the part of a polygon that lies to the right of the line from `a` to `b` (Sutherland and Hodgman, 1974).
 *
 * @param {Point[]} polygon
 * @param {Point} a
 * @param {Point} b
 */
function clipped(polygon, [ax, ay], [bx, by]) {
  /** @type {Point[]} */
  const kept = [];
  const side = polygon.map(([x, y]) => (bx - ax) * (y - ay) - (by - ay) * (x - ax));
  for (let i = 0; i < polygon.length; i++) {
    const next = (i + 1) % polygon.length;
    if (side[i] >= 0) kept.push(polygon[i]);
    if (side[i] * side[next] < 0) {
      const part = side[i] / (side[i] - side[next]);
      const [[x0, y0], [x1, y1]] = [polygon[i], polygon[next]];
      kept.push([x0 + part * (x1 - x0), y0 + part * (y1 - y0)]);
    }
  }
  return kept;
}

/**
 * Return the area that two boxes share, in square pixels.
 *
 * @param {Box} first
 * @param {Box} second
 */
export function commonArea(first, second) {
  const [cx, cy] = first;
  // Around the first box's centre, so that small boxes far from the image's corner keep their digits.
  /** @type {(box: Box) => Point[]} */
  const near = ([x, y, w, h, angle]) => cornersOf([x - cx, y - cy, w, h, angle]);
  const window = near(first);
  let polygon = near(second);
  for (let i = 0; i < 4 && polygon.length; i++) polygon = clipped(polygon, window[i], window[(i + 1) % 4]);
  return Math.abs(signedArea(polygon));
}

/**
 * Return the IoU of two boxes, as `rbox_metrics.box_iou_rotated`: a box without area overlaps nothing.
 *
 * @param {Box} first
 * @param {Box} second
 */
export function iou(first, second) {
  const areas = first[2] * first[3] + second[2] * second[3];
  if (!(first[2] * first[3] > 0 && second[2] * second[3] > 0)) return 0;
  if (first.every((value, i) => value === second[i])) return 1;
  const common = commonArea(first, second);
  return Math.min(common / (areas - common), 1);
}

/**
 * Return the box's least upright rectangle: left, top, right, bottom.
 *
 * @param {Box} box
 * @returns {[number, number, number, number]}
 */
export function boundsOf([cx, cy, w, h, angle]) {
  const [cos, sin] = [Math.abs(Math.cos(angle)), Math.abs(Math.sin(angle))];
  const [x, y] = [(w * cos + h * sin) / 2, (w * sin + h * cos) / 2];
  return [cx - x, cy - y, cx + x, cy + y];
}

/**
 * Return the corners of the convex hull (Andrew's monotone chain).
 *
 * @param {Point[]} points
 */
function hullOf(points) {
  const sorted = [...points].sort((p, q) => p[0] - q[0] || p[1] - q[1]);
  /** @type {(ordered: Point[]) => Point[]} */
  const half = (ordered) => {
    /** @type {Point[]} */
    const chain = [];
    for (const [x, y] of ordered) {
      while (chain.length > 1) {
        const [[x0, y0], [x1, y1]] = chain.slice(-2);
        if ((x1 - x0) * (y - y0) - (y1 - y0) * (x - x0) > 0) break;
        chain.pop();
      }
      chain.push([x, y]);
    }
    return chain.slice(0, -1);
  };
  const hull = [...half(sorted), ...half(sorted.reverse())];
  return hull.length ? hull : [points[0]];
}

/**
 * Return the rectangle of least area around points, one of whose sides lies on an edge of their hull (Freeman and
 * Shapira, 1975); its longer side is `w`, and its angle is in [-pi/2, pi/2).
 *
 * @param {Point[]} points At least one.
 * @returns {Box}
 */
export function rectangleAround(points) {
  const hull = hullOf(points);
  const [ox, oy] = hull[0];
  /** @type {{ area: number, box: Box }} */
  let best = { area: Infinity, box: [ox, oy, 0, 0, 0] };
  for (let i = 0; i < hull.length; i++) {
    const [x0, y0] = hull[i];
    const [x1, y1] = hull[(i + 1) % hull.length];
    const length = Math.hypot(x1 - x0, y1 - y0);
    if (length === 0) continue;
    const [ux, uy] = [(x1 - x0) / length, (y1 - y0) / length];
    let [left, top, right, bottom] = [0, 0, 0, 0];
    for (const [x, y] of hull) {
      const along = (x - ox) * ux + (y - oy) * uy;
      const across = (y - oy) * ux - (x - ox) * uy;
      [left, right] = [Math.min(left, along), Math.max(right, along)];
      [top, bottom] = [Math.min(top, across), Math.max(bottom, across)];
    }
    const [w, h] = [right - left, bottom - top];
    if (w * h >= best.area) continue;
    const [u, v] = [(left + right) / 2, (top + bottom) / 2];
    best = { area: w * h, box: [ox + u * ux - v * uy, oy + u * uy + v * ux, w, h, Math.atan2(uy, ux)] };
  }
  return inLe90(best.box);
}

/**
 * Return the same rectangle with `w` the longer side and the angle in [-pi/2, pi/2).
 *
 * @param {Box} box
 * @returns {Box}
 */
export function inLe90([cx, cy, w, h, angle]) {
  if (w < h) [w, h, angle] = [h, w, angle + Math.PI / 2];
  angle -= Math.PI * Math.floor(angle / Math.PI + 0.5);
  return [cx, cy, w, h, angle >= Math.PI / 2 ? -Math.PI / 2 : angle];
}
