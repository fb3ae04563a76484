/**
 * Server-sent events read from the body of an answer: `EventSource` cannot send an image.
 * Source: WHATWG HTML, section 9.2.6; lines end in LF or CRLF, as servers write them.
 *
 * @typedef {object} ServerEvent
 * @property {string} event Its name.
 * @property {string} data
 */

/**
 * Yield the events of a stream as they arrive.
 *
 * @param {ReadableStream<any>} body Of bytes.
 * @returns {AsyncGenerator<ServerEvent>}
 */
export async function* eventsOf(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let pending = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const blocks = (pending + value).split(/\r?\n\r?\n/);
      pending = /** @type {string} */ (blocks.pop());
      yield* blocks.map(parsed).filter((event) => event.data);
    }
  } finally {
    await reader.cancel();
  }
}

/**
 * @param {string} block
 * @returns {ServerEvent}
 */
function parsed(block) {
  const fields = block.split(/\r?\n/).map((line) => /^([^:]*):? ?(.*)$/s.exec(line) ?? ["", "", ""]);
  const named = (/** @type {string} */ name) => fields.filter(([, key]) => key === name).map(([, , value]) => value);
  return { event: named("event").at(-1) ?? "message", data: named("data").join("\n") };
}
