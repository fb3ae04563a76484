/**
 * Colours of boxes. They lie on photographs, each over a dark halo, so that they are bright in light and dark mode
 * alike; people who see fewer colours tell them apart, and lines differ in their dashes too.
 */

// That of `rbox_formats.draw.class_colour`, which says how it was chosen; a test holds the two together.
// prettier-ignore
const CLASSES = [
  "#ffee00", "#11ddff", "#ff88aa", "#44cc00", "#ee0000", "#9999ff", "#55ffaa", "#dd00aa", "#119966", "#9933ff",
  "#5577cc", "#ff4488", "#ff66dd", "#aadd44", "#aa9922", "#bb66ff", "#77bb66", "#55ffff", "#cc6655", "#cc77bb",
  "#ff11dd", "#ffaaee", "#44dd88", "#aa55bb", "#ccff88", "#ff9900", "#00ccbb", "#00eecc", "#668822", "#cc4488",
  "#ff8866", "#ffdd66", "#5588ff", "#ff88dd", "#ff3355", "#aaee88", "#9977dd", "#aacc66", "#88ffcc", "#dd2255",
];

/**
 * Return the colour of a class.
 *
 * @param {number} label
 */
export function classColour(label) {
  return CLASSES[label % CLASSES.length];
}

/** Blue, orange and yellow are told apart with any of the usual kinds of colour vision. */
export const OUTCOMES = { true: "#33ccff", false: "#ff7a2f", missed: "#ffe14d", ignored: "#b8bcc4" };

export const SLOTS = { A: "#33ccff", B: "#ffa62b" };

export const TRUTH = "#ffffff";

export const HALO = "#0e1016";
