/** The promise of the first load: what a browser must fetch before a page is there, compressed, without its data. */
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { gzipSync } from 'node:zlib'
import { expect, it } from 'vitest'

it.skipIf(!existsSync('dist/index.html'))('the first load is at most 300 KB, compressed, without the charts', () => {
  const page = readFileSync('dist/index.html', 'utf8')
  const first = [...page.matchAll(/(?:src|href)="\/(assets\/[^"]+)"/g)].map((m) => m[1]!)
  expect(first.length).toBeGreaterThan(1)
  expect(first.some((f) => f.includes('echarts'))).toBe(false)
  // The largest page on top of the frame, with everything else that is small enough to be fetched along with it.
  const all = readdirSync('dist/assets').filter((f) => /\.(js|css)$/.test(f) && !f.includes('echarts')).map((f) => `assets/${f}`)
  const bytes = ['index.html', ...all].reduce((sum, f) => sum + gzipSync(readFileSync(`dist/${f}`), { level: 9 }).length, 0)
  console.info(`all pages together without charts: ${(bytes / 1000).toFixed(1)} KB`)
  expect(bytes).toBeLessThan(300_000)
  const charts = readdirSync('dist/assets').filter((f) => f.startsWith('echarts') && f.endsWith('.js'))
  expect(charts.length).toBe(1)
})
