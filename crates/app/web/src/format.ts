/**
 * Numbers, money and dates as people of each language write them: 万 and 亿 in Chinese, K and M in English, the same
 * number of digits wherever a number stands.
 */
import { preferences, type Lang } from './preferences'

const NONE = '–'
const locale = (lang: Lang) => (lang === 'zh' ? 'zh-CN' : 'en-US')

const made = new Map<string, Intl.NumberFormat>()
function formatter(lang: Lang, options: Intl.NumberFormatOptions): Intl.NumberFormat {
  const key = lang + JSON.stringify(options)
  let found = made.get(key)
  if (!found) made.set(key, (found = new Intl.NumberFormat(locale(lang), options)))
  return found
}

const known = (x: number | null | undefined): x is number => typeof x === 'number' && Number.isFinite(x)

/** Digits after the point that a number of this size needs. */
const digits = (x: number) => (Number.isInteger(x) || Math.abs(x) >= 100 ? 0 : Math.abs(x) >= 10 ? 1 : 2)

/** A number in full: 12,345 or 3.25. */
export function number(x: number | null | undefined, lang: Lang = preferences.lang): string {
  return known(x) ? formatter(lang, { maximumFractionDigits: digits(x) }).format(x) : NONE
}

/** A large number in few signs: 12.3K, 1.2万. */
export function compact(x: number | null | undefined, lang: Lang = preferences.lang): string {
  if (!known(x)) return NONE
  if (Math.abs(x) < 10_000) return number(x, lang)
  return formatter(lang, { notation: 'compact', maximumFractionDigits: Math.abs(x) < 1e5 && lang === 'zh' ? 2 : 1 }).format(x)
}

/** Money in full; a plain number where the currency is unknown. */
export function money(x: number | null | undefined, currency: string, lang: Lang = preferences.lang): string {
  if (!known(x)) return NONE
  if (!currency) return number(x, lang)
  const whole = Math.abs(x) >= 1000
  return formatter(lang, {
    style: 'currency', currency, currencyDisplay: 'narrowSymbol',
    minimumFractionDigits: whole ? 0 : 2, maximumFractionDigits: whole ? 0 : 2,
  }).format(x)
}

/** Money in few signs: ¥1.2M, ¥123万. */
export function compactMoney(x: number | null | undefined, currency: string, lang: Lang = preferences.lang): string {
  if (!known(x) || !currency) return compact(x, lang)
  if (Math.abs(x) < 10_000) return money(x, currency, lang)
  return formatter(lang, {
    style: 'currency', currency, currencyDisplay: 'narrowSymbol', notation: 'compact',
    minimumFractionDigits: 0, maximumFractionDigits: Math.abs(x) < 1e5 && lang === 'zh' ? 2 : 1,
  }).format(x)
}

/** A share: 12.3%. */
export function percent(x: number | null | undefined, places?: number, lang: Lang = preferences.lang): string {
  if (!known(x)) return NONE
  const p = places ?? (Math.abs(x) < 0.1 ? 1 : 0)
  return formatter(lang, { style: 'percent', minimumFractionDigits: p, maximumFractionDigits: p }).format(x)
}

/** A change: +12.3%, −4%. */
export function change(x: number | null | undefined, lang: Lang = preferences.lang): string {
  if (!known(x)) return NONE
  const p = Math.abs(x) < 0.0995 ? 1 : 0
  return formatter(lang, { style: 'percent', signDisplay: 'exceptZero', minimumFractionDigits: p, maximumFractionDigits: p }).format(x)
}

/** A text with its first letter large, for titles that the server tells in small ones. */
export const title = (text: string) => text.charAt(0).toUpperCase() + text.slice(1)

/** How much more than before, as a share; nothing where before is nothing. */
export function growth(now: number | null | undefined, before: number | null | undefined): number | null {
  return known(now) && known(before) && before !== 0 ? (now - before) / Math.abs(before) : null
}

/** A measure of a model: three significant digits. */
export function measure(x: number | null | undefined, lang: Lang = preferences.lang): string {
  if (!known(x)) return NONE
  if (Number.isInteger(x)) return number(x, lang)
  return formatter(lang, { maximumSignificantDigits: 3, minimumSignificantDigits: 3 }).format(x)
}

export function bytes(x: number | null | undefined, lang: Lang = preferences.lang): string {
  if (!known(x)) return NONE
  const units = ['B', 'KB', 'MB', 'GB', 'TB']
  let k = 0
  while (x >= 1000 && k < units.length - 1) { x /= 1000; k += 1 }
  return `${formatter(lang, { maximumFractionDigits: x < 10 && k ? 1 : 0 }).format(x)} ${units[k]}`
}

const days = new Map<string, Intl.DateTimeFormat>()
function dates(lang: Lang, options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  const key = lang + JSON.stringify(options)
  let found = days.get(key)
  if (!found) days.set(key, (found = new Intl.DateTimeFormat(locale(lang), options)))
  return found
}

/** A day of the shop, `2026-01-31`, which is in no zone. */
export function day(text: string | null | undefined, style: 'full' | 'short' | 'weekday' = 'full', lang: Lang = preferences.lang): string {
  if (!text) return NONE
  const at = new Date(`${text.slice(0, 10)}T00:00:00Z`)
  if (Number.isNaN(at.getTime())) return text
  if (style === 'short') return dates(lang, { month: lang === 'zh' ? 'numeric' : 'short', day: 'numeric', timeZone: 'UTC' }).format(at)
  const options: Intl.DateTimeFormatOptions = { year: 'numeric', month: lang === 'zh' ? 'numeric' : 'short', day: 'numeric', timeZone: 'UTC' }
  const written = dates(lang, options).format(at)
  if (style !== 'weekday') return written
  const weekday = dates(lang, { weekday: 'short', timeZone: 'UTC' }).format(at)
  return lang === 'zh' ? `${written} ${weekday}` : `${weekday}, ${written}`
}

/** A moment, in the reader's own time. */
export function moment(text: string | null | undefined, lang: Lang = preferences.lang): string {
  if (!text) return NONE
  const at = new Date(text)
  if (Number.isNaN(at.getTime())) return text
  return dates(lang, { year: 'numeric', month: lang === 'zh' ? 'numeric' : 'short', day: 'numeric', hour: '2-digit', minute: '2-digit', hour12: false }).format(at)
}

/** How long something took: 3.2 s, 4 min 10 s. */
export function duration(from: string | null | undefined, to: string | null | undefined, lang: Lang = preferences.lang): string {
  if (!from) return NONE
  const s = Math.max(0, (to ? Date.parse(to) : Date.now()) - Date.parse(from)) / 1000
  const [second, minute, hour] = lang === 'zh' ? [' 秒', ' 分', ' 小时'] : [' s', ' min', ' h']
  if (s < 59.5) return `${s < 10 ? s.toFixed(1) : Math.round(s)}${second}`
  const whole = Math.round(s)
  const m = Math.floor(whole / 60)
  if (m < 60) return `${m}${minute} ${whole % 60}${second}`
  return `${Math.floor(m / 60)}${hour} ${m % 60}${minute}`
}

/** The day so many days after. */
export function addDays(text: string, n: number): string {
  return new Date(Date.parse(`${text.slice(0, 10)}T00:00:00Z`) + n * 86_400_000).toISOString().slice(0, 10)
}
