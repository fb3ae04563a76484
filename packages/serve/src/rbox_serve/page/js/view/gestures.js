/**
 * Pan and zoom by mouse, touch, pen, wheel and keyboard.
 *
 * @typedef {import("../types.js").Point} Point
 * @typedef {import("./viewport.js").Viewport} Viewport
 */

const DRAG = 4; // a press that moves by no more pixels than this is a click
const STEP = 80; // pixels that an arrow key pans by
const CLOSER = 1.4;

/** @type {Record<string, (viewport: Viewport) => void>} */
const KEYS = {
  ArrowLeft: (viewport) => viewport.panBy(STEP, 0),
  ArrowRight: (viewport) => viewport.panBy(-STEP, 0),
  ArrowUp: (viewport) => viewport.panBy(0, STEP),
  ArrowDown: (viewport) => viewport.panBy(0, -STEP),
  "+": (viewport) => viewport.zoomBy(CLOSER),
  "=": (viewport) => viewport.zoomBy(CLOSER),
  "-": (viewport) => viewport.zoomBy(1 / CLOSER),
  0: (viewport) => viewport.fit(),
  1: (viewport) => viewport.actualSize(),
};

/**
 * Let an element steer a viewport.
 *
 * @param {HTMLElement} element
 * @param {Viewport} viewport
 * @param {(place: Point) => Point} inPane Where a place of the window is in its pane, both in pixels.
 */
export function steer(element, viewport, inPane) {
  const placeOf = (/** @type {MouseEvent} */ { clientX, clientY }) => /** @type {Point} */ ([clientX, clientY]);
  /** Where in the window each pointer is. @type {Map<number, Point>} */
  const pressed = new Map();
  let moved = 0;

  const spread = () => {
    const [[x0, y0], [x1, y1]] = [...pressed.values()];
    return { middle: /** @type {Point} */ ([(x0 + x1) / 2, (y0 + y1) / 2]), width: Math.hypot(x1 - x0, y1 - y0) };
  };

  element.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || (event.target instanceof Element && event.target.closest("[data-keeps-pointer]"))) return;
    if (pressed.size === 0) moved = 0;
    if (pressed.size < 2) pressed.set(event.pointerId, placeOf(event));
  });

  element.addEventListener("pointermove", (event) => {
    const from = pressed.get(event.pointerId);
    if (!from) return;
    const before = pressed.size === 2 ? spread() : null;
    const to = placeOf(event);
    pressed.set(event.pointerId, to);
    moved += Math.hypot(to[0] - from[0], to[1] - from[1]);
    if (moved <= DRAG) return;
    // From here on it is no click: what the pointer is over no longer matters.
    element.setPointerCapture(event.pointerId);
    element.classList.add("dragging");
    if (!before) {
      viewport.panBy(to[0] - from[0], to[1] - from[1]);
      return;
    }
    const after = spread();
    viewport.panBy(after.middle[0] - before.middle[0], after.middle[1] - before.middle[1]);
    if (before.width > 0) viewport.zoomBy(after.width / before.width, inPane(after.middle));
  });

  for (const ending of ["pointerup", "pointercancel"]) {
    element.addEventListener(ending, (event) => {
      pressed.delete(/** @type {PointerEvent} */ (event).pointerId);
      if (pressed.size === 0) element.classList.remove("dragging");
    });
  }

  element.addEventListener("click", (event) => moved > DRAG && event.stopPropagation(), { capture: true });

  element.addEventListener("dblclick", (event) => viewport.zoomBy(event.shiftKey ? 0.5 : 2, inPane(placeOf(event))));

  element.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      const pixels = event.deltaY * (event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1);
      // Pinching on a touchpad arrives as a wheel with Ctrl, in smaller steps.
      viewport.zoomBy(Math.exp(-pixels * (event.ctrlKey ? 0.01 : 0.0015)), inPane(placeOf(event)));
    },
    { passive: false },
  );

  element.addEventListener("keydown", (event) => {
    if (event.target !== element || event.ctrlKey || event.metaKey || event.altKey || !KEYS[event.key]) return;
    event.preventDefault();
    KEYS[event.key](viewport);
  });
}
