import { readFileSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { dictionaries, t, word } from '../src/i18n'
import { en } from '../src/i18n/en'
import { zh } from '../src/i18n/zh'

const holes = (text: string) => [...text.matchAll(/\{(\w+)\}/g)].map((m) => m[1]).sort()
const files = (at: string): string[] => readdirSync(at).flatMap((n) => { const p = join(at, n); return statSync(p).isDirectory() ? files(p) : [p] })

describe('dictionary', () => {
  it('has the same keys in both languages, in order', () => {
    expect(Object.keys(zh)).toEqual(Object.keys(en))
    expect(Object.keys(en)).toEqual([...Object.keys(en)].sort((a, b) => (a < b ? -1 : 1)))
  })
  it('has no empty text, and the same places to fill in', () => {
    for (const [key, text] of Object.entries(en)) {
      const other = zh[key as keyof typeof en]
      expect(text.trim() && other.trim(), key).toBeTruthy()
      expect(holes(other), key).toEqual(holes(text))
    }
  })
  it('is Chinese where it should be', () => {
    // Names that are written alike in both.
    const alike = new Set(['method.theta', 'metric.auc', 'metric.mase', 'metric.r2', 'metric.rmse', 'metric.wape', 'overview.as_of', 'page.range', 'quality.table_line', 'trend.units_move'])
    for (const [key, text] of Object.entries(zh)) if (!alike.has(key)) expect(/[\u4e00-\u9fff]/.test(text), `${key}: ${text}`).toBe(true)
    for (const [key, text] of Object.entries(en)) expect(/[\u4e00-\u9fff]/.test(text), `${key}: ${text}`).toBe(false)
  })
  it('has every text that a page asks for by its whole key, and no other', () => {
    const source = files('src').filter((f) => /\.(vue|ts)$/.test(f) && !f.includes('i18n/') && !f.endsWith('schema.ts')).map((f) => readFileSync(f, 'utf8')).join('\n')
    const asked = new Set([...source.matchAll(/\bt\(\s*'([\w.]+)'/g), ...source.matchAll(/\b(?:term|text)="([a-z_]+\.[\w.]+)"/g), ...source.matchAll(/title: '([a-z_]+\.[\w.]+)'/g)].map((m) => m[1]!))
    for (const key of asked) expect(key in en, key).toBe(true)
    // The others belong to a group of words that is looked up by the server's own names.
    const groups = new Set([...source.matchAll(/word\(\s*'([a-z_]+)'/g), ...source.matchAll(/`([a-z_]+)[._]\$\{/g)].map((m) => m[1]!))
    for (const key of Object.keys(en)) {
      const group = key.slice(0, key.indexOf('.'))
      const literal = source.includes(`'${key}'`) || source.includes(`"${key}"`)
      expect(asked.has(key) || groups.has(group) || literal, `${key} is asked for nowhere`).toBe(true)
    }
  })
  it('fills in and falls back', () => {
    expect(t('page.range', { from: 1, to: 2, total: 3 })).toContain('3')
    expect(word('stage', 'a_new_word')).toBe('a new word')
    expect(Object.keys(dictionaries)).toEqual(['en', 'zh'])
  })
})
