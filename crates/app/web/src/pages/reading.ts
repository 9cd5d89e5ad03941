/** What a reading of an experiment holds (`format` 1), and what a page makes of it. */
export interface Interval { low: number | null; high: number | null }
export interface Estimate { n: number; value: number | null; variance: number | null }
export interface Contrast { control: Estimate; arm: Estimate; difference: number | null; interval: Interval; lift: number | null; lift_interval: Interval; p: number | null }
export interface MetricReading {
  metric: string
  arm: string
  kind: 'conversion' | 'mean' | 'ratio' | 'rating'
  purpose: 'primary' | 'secondary' | 'guard'
  raw: Contrast
  adjusted: Contrast | null
  variance_cut: number | null
  look: { interval: Interval; p_now: number; p: number } | null
  p: number | null
  p_adjusted: number | null
  better: boolean | null
  broken: boolean
}
export type Advice =
  | { advice: 'mend' } | { advice: 'keep' } | { advice: 'no_difference' }
  | { advice: 'stop'; arm: string; metric: string } | { advice: 'wait'; share: number } | { advice: 'take'; arm: string }
export interface Reading {
  format: number
  units: [string, number][]
  ratio: { expected: number[]; statistic: number; p: number; mismatch: boolean } | null
  blocked: boolean
  metrics: MetricReading[]
  advice: Advice
}

/** A change against the control with the interval that may be read for it. */
export interface Lift { lift: number | null; low: number | null; high: number | null }

export function liftOf(c: Contrast | null): Lift | null {
  return c && { lift: c.lift, low: c.lift_interval.low, high: c.lift_interval.high }
}

/**
 * What counts: the adjusted figures where there are some, with the interval that holds for every look at once where the
 * experiment is judged at any time.
 */
export function counted(m: MetricReading): Lift {
  const c = m.adjusted ?? m.raw
  const base = c.control.value
  if (!m.look) return liftOf(c)!
  const { low, high } = m.look.interval
  if (!base || low === null || high === null) return { lift: c.lift, low: null, high: null }
  return { lift: c.lift, low: Math.min(low / base, high / base), high: Math.max(low / base, high / base) }
}

/** How far the pictures of some changes reach to each side of nought: the furthest end, and no less than a percent. */
export function reachOf(lifts: (Lift | null)[]): number {
  const ends = lifts.flatMap((l) => (l ? [l.lift, l.low, l.high] : [])).filter((v): v is number => v !== null && Number.isFinite(v))
  return Math.max(0.01, ...ends.map(Math.abs))
}

export type Verdict = 'better' | 'worse' | 'open' | 'broken' | 'holds'

export function verdictOf(m: MetricReading): Verdict {
  if (m.purpose === 'guard') return m.broken ? 'broken' : 'holds'
  return m.better === null ? 'open' : m.better ? 'better' : 'worse'
}

export const toneOfVerdict = (v: Verdict): string => (v === 'better' || v === 'holds' ? 'good' : v === 'worse' || v === 'broken' ? 'bad' : '')
export const toneOfAdvice = (a: Advice): string => ({ mend: 'bad', stop: 'bad', wait: '', take: 'good', keep: 'warn', no_difference: 'warn' })[a.advice] ?? ''
export const toneOfExperiment = (state: string): string => ({ running: 'accent', stopped: 'warn', decided: 'good' })[state] ?? ''

/** The share of the planned users that are there. An experiment judged once plans each arm, one judged at any time all. */
export function progressOf(judged: string, users: number | null | undefined, units: [string, number][]): { there: number; planned: number } | null {
  if (!users) return null
  const there = units.reduce((sum, [, n]) => sum + n, 0)
  return { there, planned: judged === 'fixed' ? users * Math.max(1, units.length) : users }
}

/** What can be done with an experiment in a state. */
export function actionsOf(state: string): ('start' | 'look' | 'ramp' | 'stop' | 'decide')[] {
  if (state === 'draft') return ['start']
  if (state === 'running') return ['look', 'ramp', 'stop']
  return state === 'stopped' ? ['look', 'decide'] : []
}
