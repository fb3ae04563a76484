/**
 * Values that tell their readers when they change. An effect runs again, once per microtask, after what it read has
 * changed; a derived value is computed when it is read.
 *
 * @template T
 * @typedef {{ value: T, peek(): T }} Signal
 */

/**
 * @typedef {object} Observer
 * @property {() => void} invalidate
 * @property {Set<Set<Observer>>} sources The sets in which it is listed.
 */

/** @type {Observer | null} */
let reader = null;

/** @type {Set<() => void>} */
const waiting = new Set();

function flush() {
  // What an effect changes may wait for further effects: they run in the same turn.
  for (const run of waiting) {
    waiting.delete(run);
    run();
  }
}

/** @param {() => void} run */
function schedule(run) {
  if (waiting.size === 0) queueMicrotask(flush);
  waiting.add(run);
}

/** @param {Set<Observer>} observers */
function track(observers) {
  if (!reader) return;
  observers.add(reader);
  reader.sources.add(observers);
}

/** @param {Set<Observer>} observers */
function notify(observers) {
  for (const observer of [...observers]) observer.invalidate();
}

/**
 * Run a function, noting for `observer` what it reads in place of what it read before.
 *
 * @template T
 * @param {Observer} observer
 * @param {() => T} compute
 */
function reading(observer, compute) {
  for (const source of observer.sources) source.delete(observer);
  observer.sources.clear();
  const before = reader;
  reader = observer;
  try {
    return compute();
  } finally {
    reader = before;
  }
}

/**
 * @template T
 * @param {T} initial
 * @returns {Signal<T>}
 */
export function signal(initial) {
  let current = initial;
  const observers = new Set();
  return {
    get value() {
      track(observers);
      return current;
    },
    set value(next) {
      if (Object.is(next, current)) return;
      current = next;
      notify(observers);
    },
    peek: () => current,
  };
}

/**
 * @template T
 * @param {() => T} compute
 * @returns {{ readonly value: T, peek(): T }}
 */
export function derived(compute) {
  /** @type {T} */
  let current;
  let stale = true;
  const observers = new Set();
  const self = {
    sources: new Set(),
    invalidate() {
      if (stale) return;
      stale = true;
      notify(observers);
    },
  };
  const peek = () => {
    if (stale) {
      current = reading(self, compute);
      stale = false;
    }
    return current;
  };
  return {
    get value() {
      track(observers);
      return peek();
    },
    peek,
  };
}

/**
 * Run now, and again after each change of what it read.
 *
 * @param {() => void} run
 */
export function effect(run) {
  const again = () => reading(self, run);
  const self = { sources: new Set(), invalidate: () => schedule(again) };
  again();
}
