/** What went wrong and what to do about it, as the rest of the packages say it. */
export class PageError extends Error {
  /**
   * @param {string} message What is wrong.
   * @param {string} [remedy] What to do.
   */
  constructor(message, remedy = "") {
    super(message);
    this.name = "PageError";
    this.remedy = remedy;
  }
}

/** The server wants a key, or another one. */
export class KeyError extends PageError {}

const MOST_QUOTED = 60;

/**
 * Return a value as a message quotes it: whatever its length, no longer than a line.
 *
 * @param {unknown} value
 */
export function quoted(value) {
  const text = typeof value === "string" ? `'${value}'` : (JSON.stringify(value) ?? "nothing");
  return text.length > MOST_QUOTED ? `${text.slice(0, MOST_QUOTED)}…` : text;
}
