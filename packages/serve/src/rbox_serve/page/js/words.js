/**
 * Return a number with its noun.
 *
 * @param {number} count
 * @param {string} noun In the singular.
 * @param {string} [plural]
 */
export function counted(count, noun, plural = `${noun}s`) {
  return `${count} ${count === 1 ? noun : plural}`;
}
