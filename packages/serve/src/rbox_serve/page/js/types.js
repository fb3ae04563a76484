/**
 * The shapes of values that several modules share. This module has types only.
 *
 * @typedef {[number, number]} Point x, y in pixels of the image.
 *
 * @typedef {[number, number, number, number, number]} Box cx, cy, w, h in pixels, angle in radians, clockwise on the
 *   screen; as in predictions.jsonl.
 *
 * @typedef {object} Size
 * @property {number} width In pixels.
 * @property {number} height In pixels.
 *
 * @typedef {object} Model What `GET /v1/models` says of a detector.
 * @property {string} name
 * @property {string} command The command that predicts with it, which tells its kind.
 * @property {string[]} classes
 * @property {boolean} ready
 * @property {boolean} writes_text
 *
 * @typedef {object} DetectedBox A box that a detector found.
 * @property {number} index Its place in the record.
 * @property {Box} box
 * @property {Point[]} corners As the detector wrote them, else the box's own.
 * @property {string} name Its class.
 * @property {number | null} score Null for a detector without scores.
 *
 * @typedef {object} TrueBox An object of the ground truth.
 * @property {number} index
 * @property {Box} box The least rectangle around `corners`.
 * @property {Point[]} corners As annotated.
 * @property {string} name Its class.
 * @property {boolean} difficult
 *
 * @typedef {object} Span A piece of a model's answer that holds a box.
 * @property {number} window Which answer, by its place in the record's `windows`.
 * @property {number} start Its first character.
 * @property {number} end One past its last character.
 * @property {number} box The box's place in the record.
 *
 * @typedef {object} Answer What a multimodal model wrote for one window.
 * @property {number[]} window x, y of its upper left corner, and its side.
 * @property {string} text
 * @property {string} status
 *
 * @typedef {object} MapPlace Where an image lies on the map.
 * @property {number[]} transform a to f in x = a column + b row + c, y = d column + e row + f.
 * @property {string | null} crs The system of coordinates, such as "EPSG:32631".
 *
 * @typedef {object} Found What a detector gave for an image.
 * @property {object} header The first line of predictions.jsonl.
 * @property {object} record The image's line of predictions.jsonl.
 * @property {DetectedBox[]} boxes
 * @property {Answer[]} answers
 * @property {Span[]} spans
 * @property {MapPlace | null} map
 * @property {number | null} seconds How long the server took.
 *
 * @typedef {"A" | "B"} Slot Which of the two detectors.
 *
 * @typedef {object} Mark What is selected or pointed at: a box of a detector, or of the ground truth.
 * @property {Slot | "truth"} layer
 * @property {number} index
 */

export {};
