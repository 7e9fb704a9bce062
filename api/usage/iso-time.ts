const DAYS_OF_MONTH = [0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

const DASH = 45;
const DOT = 46;
const ZERO = 48;
const COLON = 58;
const PLUS = 43;
const T = 84;
const Z = 90;

/**
 * Reads `2026-11-20T21:30[:00[.123…]](Z|±hh:mm)`, the ISO 8601 times that weir takes everywhere. A time without a
 * zone is refused, for nobody knows what it means. Digits below the millisecond are cut off.
 *
 * By hand because it is on the way of every usage event: Date.parse takes twice as long, takes much that is no
 * ISO 8601, and makes the 30th of February the 2nd of March.
 *
 * @returns ms since the epoch; NaN unless `text` is such a time
 */
export function parseIsoTime(text: string): number {
  const hour = two(text, 11);
  const minute = two(text, 14);
  const isShaped = hour <= 23 && minute <= 59 && text.charCodeAt(10) === T && text.charCodeAt(13) === COLON;
  if (!isShaped) return Number.NaN;
  let at = 16;
  let ms = hour * 3_600_000 + minute * 60_000;
  if (text.charCodeAt(at) === COLON) {
    const second = two(text, 17);
    if (!(second <= 59)) return Number.NaN;
    ms += second * 1000;
    at = 19;
    if (text.charCodeAt(at) === DOT) {
      const from = at + 1;
      let weight = 100;
      for (at = from; isDigit(text.charCodeAt(at)); at++) {
        ms += (text.charCodeAt(at) - ZERO) * weight;
        weight = Math.floor(weight / 10);
      }
      if (at === from) return Number.NaN;
    }
  }
  return dayMs(text) + ms - zoneMs(text, at);
}

/** The last day that was read: almost every event of a day begins with the same one. */
let knownDay = '';
let knownDayMs = Number.NaN;

/** The day that the text begins with, in ms since the epoch. */
function dayMs(text: string): number {
  if (knownDay !== '' && text.startsWith(knownDay)) return knownDayMs;
  const ms = readDay(text);
  if (!Number.isNaN(ms)) {
    knownDay = text.slice(0, 10);
    knownDayMs = ms;
  }
  return ms;
}

function readDay(text: string): number {
  // Date.UTC takes the years before 100 for those of the last century.
  const century = two(text, 0);
  const year = century * 100 + two(text, 2);
  const month = two(text, 5);
  const day = two(text, 8);
  const exists = century >= 1 && month >= 1 && month <= 12 && day >= 1 && day <= daysIn(year, month);
  if (!exists || text.charCodeAt(4) !== DASH || text.charCodeAt(7) !== DASH) return Number.NaN;
  return Date.UTC(year, month - 1, day);
}

/** How far the zone that ends the text lies ahead of UTC. */
function zoneMs(text: string, at: number): number {
  const sign = text.charCodeAt(at);
  if (sign === Z) return text.length === at + 1 ? 0 : Number.NaN;
  if (sign !== PLUS && sign !== DASH) return Number.NaN;
  const hours = two(text, at + 1);
  const minutes = two(text, at + 4);
  const isShaped = hours <= 23 && minutes <= 59 && text.charCodeAt(at + 3) === COLON;
  if (!isShaped || text.length !== at + 6) return Number.NaN;
  return (sign === PLUS ? 60_000 : -60_000) * (hours * 60 + minutes);
}

/** Two digits as a number; NaN unless they are two digits. */
function two(text: string, at: number): number {
  const tens = text.charCodeAt(at);
  const ones = text.charCodeAt(at + 1);
  return isDigit(tens) && isDigit(ones) ? (tens - ZERO) * 10 + ones - ZERO : Number.NaN;
}

function isDigit(code: number): boolean {
  return code >= ZERO && code <= ZERO + 9;
}

function daysIn(year: number, month: number): number {
  if (month !== 2) return DAYS_OF_MONTH[month]!;
  return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0) ? 29 : 28;
}
