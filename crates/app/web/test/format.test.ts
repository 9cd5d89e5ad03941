import { describe, expect, it } from 'vitest'
import { addDays, bytes, change, compact, compactMoney, day, duration, growth, measure, money, number, percent } from '../src/format'
import { csv } from '../src/save'
import { daysOf, placed } from '../src/charts/model'
import { headline, lowerIsBetter, naive } from '../src/pages/measures'
import type { ModelVersion } from '../src/api/types'

describe('numbers', () => {
  it('are short in the way of each language', () => {
    expect(compact(9_876, 'en')).toBe('9,876')
    expect(compact(12_345, 'en')).toBe('12.3K')
    expect(compact(12_345, 'zh')).toBe('1.23万')
    expect(compact(1_234_567, 'en')).toBe('1.2M')
    expect(compact(1_234_567, 'zh')).toBe('123.5万')
    expect(compact(234_567_890, 'zh')).toBe('2.3亿')
    expect(compactMoney(234_567_890, 'CNY', 'zh')).toBe('¥2.3亿')
    expect(compactMoney(1_234_567, 'CNY', 'en')).toBe('¥1.2M')
    expect(money(12.5, 'CNY', 'zh')).toBe('¥12.50')
    expect(money(12_345.6, 'USD', 'en')).toBe('$12,346')
    expect(money(12.5, '', 'en')).toBe('12.5')
  })
  it('have as many digits as they need', () => {
    expect([number(1234.5678, 'en'), number(12.345, 'en'), number(1.2345, 'en'), number(7, 'en')]).toEqual(['1,235', '12.3', '1.23', '7'])
    expect([percent(0.1234, undefined, 'en'), percent(0.0123, undefined, 'en'), percent(0.5, 1, 'en')]).toEqual(['12%', '1.2%', '50.0%'])
    expect([change(0.123, 'en'), change(-0.04, 'en'), change(0, 'en')]).toEqual(['+12%', '-4.0%', '0.0%'])
    expect([measure(0.123456, 'en'), measure(12, 'en')]).toEqual(['0.123', '12'])
    expect(bytes(1_234_567, 'en')).toBe('1.2 MB')
  })
  it('that are not known are a dash', () => {
    for (const f of [number, compact, percent, change, measure, bytes]) expect([f(null), f(undefined), f(NaN)]).toEqual(['–', '–', '–'])
    expect(growth(1, 0)).toBeNull()
    expect(growth(null, 3)).toBeNull()
    expect(growth(-1, -2)).toBe(0.5)
  })
})

describe('days', () => {
  it('stay the days they are in every zone', () => {
    expect(day('2026-03-01', 'full', 'en')).toBe('Mar 1, 2026')
    expect(day('2026-03-01', 'short', 'zh')).toBe('3/1')
    expect(day('2026-03-01', 'weekday', 'zh')).toContain('周日')
    expect(addDays('2026-02-27', 2)).toBe('2026-03-01')
    expect(addDays('2024-02-28', 1)).toBe('2024-02-29')
  })
  it('last', () => {
    expect(duration('2026-01-01T00:00:00Z', '2026-01-01T00:00:03.2Z', 'en')).toBe('3.2 s')
    expect(duration('2026-01-01T00:00:00Z', '2026-01-01T00:04:10Z', 'zh')).toBe('4 分 10 秒')
    expect(duration(null, null)).toBe('–')
  })
  it('meet at their places', () => {
    expect(daysOf(['b', 'a'], ['c', 'b'])).toEqual(['a', 'b', 'c'])
    expect(placed(['a', 'b', 'c'], ['b', 'c'], [1, null])).toEqual([null, 1, null])
  })
})

describe('files', () => {
  it('are CSV that a spreadsheet reads and does not run', () => {
    expect(csv(['a', 'b'], [[1, 'x, "y"'], [null, '=1+1'], [NaN, '茶']])).toBe('\ufeffa,b\r\n1,"x, ""y"""\r\n,\'=1+1\r\n,茶\r\n')
  })
})

describe('measures', () => {
  const version = (kind: string, metrics: Record<string, number>) => ({ kind, metrics }) as unknown as ModelVersion
  it('tell what a pipeline chooses by, beside the simple method', () => {
    const recs = version('recommendations', { ndcg_10: 0.2, ndcg_10_popularity: 0.1, coverage_10: 0.5 })
    expect(headline(recs)).toEqual({ name: 'ndcg_10', base: 'ndcg_10', value: 0.2 })
    expect(naive(recs, 'ndcg_10')).toBe(0.1)
    expect(headline(version('forecasts', { 'units.product.wape': 0.4, 'units.product.wape_naive': 0.6 }))?.base).toBe('wape')
    expect(headline(version('trends', {}))).toBeNull()
  })
  it('know which way is better', () => {
    expect([lowerIsBetter('wape'), lowerIsBetter('accuracy'), lowerIsBetter('cases')]).toEqual([true, false, null])
  })
})
