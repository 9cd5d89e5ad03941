/**
 * What the server watches: alerts, the error of forecasts, what versions earned, new trainings and approvals. A server that
 * does not have one of these routes answers 404, which is null here and a word on the page, not a fault.
 */
import { ApiError, send } from './client'
import { key } from '../session'

export interface Week { from: string; until: string; version: number | null; n: number; wape: number | null; bias: number | null; coverage: number | null; p: number | null; level: number | null; alarm: boolean }
export interface SegmentError { segment: string; n: number; wape: number | null; bias: number | null; coverage: number | null; expected_wape: number | null; ratio: number | null }
export interface Coming { from: string; until: string; n: number; wape: number; ratio: number }
export interface Fit { verdict: 'sound' | 'underfitted' | 'overfitted' | 'stale' | 'too_few'; ratio: number | null }
export interface ErrorsAnswer { model: string; version: number | null; weeks: Week[]; expected: { wape: number; coverage: number } | null; segments: SegmentError[]; error_ratio: number | null; alarm: boolean; coming: Coming | null; fit: Fit | null; note: string | null }
export interface Earned { version: number; from: string; until: string; actual: number | null; expected: number | null; earned: number | null; low: number | null; high: number | null; lift: number | null; p: number | null; why_not: string | null }
export interface EffectsAnswer { target: string; versions: Earned[] }
export type AlertSeverity = 'info' | 'warning' | 'critical'
export interface Alert { rule: string; subject: string; state: 'pending' | 'firing' | 'resolved'; severity: AlertSeverity; value: number | null; details: string; text: string; text_zh: string; since: string; seen: string }
export interface AlertEntry { kind: 'firing' | 'still' | 'resolved'; rule: string; subject: string; severity: AlertSeverity; value: number | null; text: string; text_zh: string; details: string; at: string }
export interface AlertsAnswer { active: Alert[]; log: AlertEntry[] }
export interface Silence { id: number | string; rule: string; subject: string; from: string; until: string; actor: string; reason: string }
export type Because = { because: 'drift'; share: number; major: number } | { because: 'alarm' } | { because: 'error'; ratio: number } | { because: 'schedule'; age_ms: number } | { because: 'volume'; share: number }
export interface Retrain { model: string; sequence: number; at: string; because: Because[] }
export interface Judgement { verdict: 'better' | 'not_better' | 'worse_in_segment' | 'too_few'; pairs: number; improvement: number | null; low: number | null; high: number | null; p: number | null; worse: unknown[] }
export interface Approval { id: number | string; model: string; champion: number; challenger: number; state: 'pending' | 'approved' | 'rejected' | 'replaced'; judgement: Judgement; created: string; decided: string | null; actor: string | null; reason: string | null }

async function quiet<T>(path: string, signal?: AbortSignal): Promise<T | null> {
  try {
    return (await (await send('GET', path, key(), undefined, signal)).json()) as T
  } catch (e) {
    if (e instanceof ApiError && e.problem.status === 404) return null
    throw e
  }
}

export const errors = (signal?: AbortSignal) => quiet<ErrorsAnswer>('/v1/monitor/errors', signal)
export const effects = (signal?: AbortSignal) => quiet<EffectsAnswer>('/v1/monitor/effects', signal)
export const alerts = (signal?: AbortSignal) => quiet<AlertsAnswer>('/v1/alerts', signal)
export const silences = (signal?: AbortSignal) => quiet<{ items: Silence[] }>('/v1/alerts/silences', signal)
export const retrains = (signal?: AbortSignal) => quiet<{ items: Retrain[] }>('/v1/retrains?limit=50', signal)
export const approvals = (open: boolean, signal?: AbortSignal) => quiet<{ items: Approval[] }>(`/v1/approvals${open ? '?open=true' : ''}`, signal)

export async function silence(asked: { rule: string; subject: string; hours: number; reason: string }): Promise<void> {
  await send('POST', '/v1/alerts/silences', key(), asked)
}
export async function unsilence(id: number | string): Promise<void> {
  await send('DELETE', `/v1/alerts/silences/${encodeURIComponent(String(id))}`, key())
}
export async function settle(id: number | string, how: 'approve' | 'reject', reason: string): Promise<void> {
  await send('POST', `/v1/approvals/${encodeURIComponent(String(id))}/${how}`, key(), { reason })
}
