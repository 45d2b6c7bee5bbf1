// Moments and numbers in words. All dates are UTC, as the gateway counts them.

const DAY = 86400000;
const RELATIVE = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const LONG = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "long", year: "numeric", timeZone: "UTC" });
const STEPS = [
  ["year", 365 * DAY],
  ["month", 30 * DAY],
  ["day", DAY],
  ["hour", DAY / 24],
  ["minute", DAY / 1440],
];

export const number = (value) => new Intl.NumberFormat("en").format(value);
export const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);
export const many = (count, word) => `${number(count)} ${word}${count === 1 ? "" : "s"}`;

// 1,200 requests in 300 seconds
export const rate = ({ requests, period }) => `${many(requests, "request")} in ${many(period, "second")}`;

// 3 January 2027
export const longDate = (moment) => LONG.format(new Date(moment));

// 2027-01-03 14:05 UTC
export const exact = (moment) => `${moment.slice(0, 10)} ${moment.slice(11, 16)} UTC`;

// "3 days ago", "in 2 hours"
export function relative(moment, now = Date.now()) {
  const away = new Date(moment) - now;
  for (const [unit, size] of STEPS) {
    if (Math.abs(away) >= size) return RELATIVE.format(Math.trunc(away / size), unit);
  }
  return away > 0 ? "in a moment" : "just now";
}

// A token lives until `expires_on` and not in that very second: its last day is the day of the second before.
export const lastDay = (expires) => new Date(new Date(expires) - 1000).toISOString().slice(0, 10);
export const endOfDay = (day) => new Date(Date.parse(`${day}T00:00:00Z`) + DAY).toISOString().replace(".000Z", "Z");
export const startOfDay = (day) => `${day}T00:00:00Z`;
export const today = () => new Date().toISOString().slice(0, 10);
export const days = (count) => count * DAY;
