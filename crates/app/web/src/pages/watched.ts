/** The order and the look of what is watched. */
import type { AlertSeverity, Because, SegmentError, Week } from '../api/watch'

export const toneOfDrift = (verdict: string): string => (verdict === 'major' ? 'bad' : verdict === 'moderate' ? 'warn' : verdict === 'stable' ? 'good' : '')
export const toneOfSeverity = (s: AlertSeverity): string => (s === 'critical' ? 'bad' : s === 'warning' ? 'warn' : '')
export const toneOfApproval = (state: string): string => (state === 'approved' ? 'good' : state === 'rejected' ? 'bad' : state === 'open' ? 'accent' : '')

/** Segments by how much their error is beyond the expected one; those without an expectation by their error, at the end. */
export function worstFirst(segments: SegmentError[]): SegmentError[] {
  return [...segments].sort((a, b) => (b.ratio ?? -1) - (a.ratio ?? -1) || (b.wape ?? -1) - (a.wape ?? -1))
}

/** Firing before pending, critical before the rest, the newest first. */
export function gravest<A extends { state: string; severity: AlertSeverity; since: string }>(alerts: A[]): A[] {
  const weight = (a: A) => (a.state === 'firing' ? 10 : a.state === 'pending' ? 5 : 0) + { critical: 3, warning: 2, info: 1 }[a.severity]
  return [...alerts].sort((a, b) => weight(b) - weight(a) || b.since.localeCompare(a.since))
}

/** The weeks in which another version began to answer. */
export function changesOfVersion(weeks: Week[]): { x: string; version: number }[] {
  return weeks.flatMap((w, k) => (w.version !== null && (k === 0 || weeks[k - 1]!.version !== w.version) ? [{ x: w.from, version: w.version }] : []))
}

/** The figure that a reason to train anew carries. */
export function figureOf(b: Because): { kind: 'share' | 'ratio' | 'days'; value: number } | null {
  if (b.because === 'drift' || b.because === 'volume') return { kind: 'share', value: b.share }
  if (b.because === 'error') return { kind: 'ratio', value: b.ratio }
  return b.because === 'schedule' ? { kind: 'days', value: b.age_ms / 86_400_000 } : null
}
