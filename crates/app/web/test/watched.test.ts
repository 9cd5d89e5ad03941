import { describe, expect, it } from 'vitest'
import type { SegmentError, Week } from '../src/api/watch'
import { actionsOf, counted, liftOf, progressOf, reachOf, toneOfAdvice, verdictOf, type Contrast, type MetricReading } from '../src/pages/reading'
import { changesOfVersion, figureOf, gravest, worstFirst } from '../src/pages/watched'

const estimate = (value: number | null) => ({ n: 100, value, variance: 0.01 })
const contrast = (lift: number | null, low: number | null, high: number | null, control: number | null = 0.4): Contrast => ({ control: estimate(control), arm: estimate(0.5), difference: 0.1, interval: { low, high }, lift, lift_interval: { low, high }, p: 0.01 })
const metric = (given: Partial<MetricReading>): MetricReading => ({ metric: 'conversion', arm: 'b', kind: 'conversion', purpose: 'primary', raw: contrast(0.25, 0.1, 0.4), adjusted: null, variance_cut: null, look: null, p: 0.01, p_adjusted: 0.02, better: null, broken: false, ...given })

describe('a reading', () => {
  it('counts the adjusted figures where there are some', () => {
    expect(counted(metric({}))).toEqual({ lift: 0.25, low: 0.1, high: 0.4 })
    expect(counted(metric({ adjusted: contrast(0.2, 0.12, 0.28) }))).toEqual({ lift: 0.2, low: 0.12, high: 0.28 })
    expect(liftOf(null)).toBeNull()
  })
  it('takes the interval that is valid at every look, as a share of the control, whatever its sign', () => {
    const look = { interval: { low: -0.1, high: 0.2 }, p_now: 0.3, p: 0.3 }
    expect(counted(metric({ look }))).toEqual({ lift: 0.25, low: -0.25, high: 0.5 })
    const turned = counted(metric({ look, raw: contrast(0.25, null, null, -0.4) }))
    expect([turned.low, turned.high]).toEqual([-0.5, 0.25])
    expect(counted(metric({ look, raw: contrast(null, null, null, 0) }))).toEqual({ lift: null, low: null, high: null })
  })
  it('is drawn to the furthest end, and never larger than a percent needs', () => {
    expect(reachOf([{ lift: 0.1, low: -0.3, high: 0.2 }, null])).toBe(0.3)
    expect(reachOf([{ lift: null, low: null, high: null }])).toBe(0.01)
  })
  it('tells guards from what decides', () => {
    expect([metric({}), metric({ better: true }), metric({ better: false }), metric({ purpose: 'guard' }), metric({ purpose: 'guard', broken: true })].map(verdictOf)).toEqual(['open', 'better', 'worse', 'holds', 'broken'])
    expect([toneOfAdvice({ advice: 'take', arm: 'b' }), toneOfAdvice({ advice: 'mend' }), toneOfAdvice({ advice: 'wait', share: 0.2 })]).toEqual(['good', 'bad', ''])
  })
  it('counts planned users of each arm or in all', () => {
    expect(progressOf('fixed', 100, [['a', 50], ['b', 40]])).toEqual({ there: 90, planned: 200 })
    expect(progressOf('sequential', 100, [['a', 50], ['b', 40]])).toEqual({ there: 90, planned: 100 })
    expect(progressOf('bandit', null, [])).toBeNull()
  })
  it('offers what a state allows', () => {
    expect(['draft', 'running', 'stopped', 'decided'].map(actionsOf)).toEqual([['start'], ['look', 'ramp', 'stop'], ['look', 'decide'], []])
  })
})

describe('what is watched', () => {
  it('has the worst segment first, those without an expectation last', () => {
    const segment = (name: string, ratio: number | null, wape: number): SegmentError => ({ segment: name, n: 1, wape, bias: 0, coverage: null, expected_wape: null, ratio })
    expect(worstFirst([segment('a', 1, 0.9), segment('b', null, 0.99), segment('c', 1.4, 0.1), segment('d', null, 0.2)]).map((s) => s.segment)).toEqual(['c', 'a', 'b', 'd'])
  })
  it('has firing alerts first, then critical ones, then new ones', () => {
    const alert = (subject: string, state: string, severity: 'info' | 'warning' | 'critical', since: string) => ({ subject, state, severity, since })
    const list = [alert('a', 'pending', 'critical', '2'), alert('b', 'firing', 'info', '1'), alert('c', 'firing', 'critical', '1'), alert('d', 'firing', 'critical', '3')]
    expect(gravest(list).map((a) => a.subject)).toEqual(['d', 'c', 'b', 'a'])
  })
  it('marks the weeks in which another version began', () => {
    const week = (from: string, version: number | null) => ({ from, version }) as Week
    expect(changesOfVersion([week('1', 2), week('2', 2), week('3', null), week('4', 3)])).toEqual([{ x: '1', version: 2 }, { x: '4', version: 3 }])
  })
  it('tells why a model was trained anew', () => {
    expect(figureOf({ because: 'drift', share: 0.4, major: 1 })).toEqual({ kind: 'share', value: 0.4 })
    expect(figureOf({ because: 'schedule', age_ms: 86_400_000 * 7 })).toEqual({ kind: 'days', value: 7 })
    expect(figureOf({ because: 'alarm' })).toBeNull()
  })
})
