/** The parts of ECharts that a chart over days needs, and no others: loaded when the first chart is drawn. */
import { BarChart, LineChart } from 'echarts/charts'
import { GridComponent, MarkAreaComponent, MarkLineComponent, TooltipComponent } from 'echarts/components'
import { init as start, use, type EChartsCoreOption, type EChartsType } from 'echarts/core'
import { CanvasRenderer } from 'echarts/renderers'
import { day } from '../format'
import type { Band, Line, Mark } from './model'

use([LineChart, BarChart, GridComponent, TooltipComponent, MarkLineComponent, MarkAreaComponent, CanvasRenderer])

export function init(element: HTMLElement): EChartsType {
  return start(element)
}

interface Drawn {
  x: string[]
  lines: Line[]
  band?: Band
  marks?: Mark[]
  format: (value: number) => string
  ahead?: string
  zero?: boolean
  label?: (x: string) => string
  token: (name: string) => string
}

export function option(d: Drawn): EChartsCoreOption {
  const colour = d.token
  const still = matchMedia('(prefers-reduced-motion: reduce)').matches
  const series: object[] = []
  if (d.band) {
    const width = d.band.upper.map((u, k) => (u === null || d.band!.lower[k] === null ? null : u - (d.band!.lower[k] ?? 0)))
    const quiet = { type: 'line', stack: 'band', symbol: 'none', silent: true, lineStyle: { opacity: 0 }, z: 1, stackStrategy: 'all' }
    series.push({ ...quiet, name: '_lower', data: d.band.lower })
    series.push({ ...quiet, name: '_width', data: width, areaStyle: { color: colour('band'), opacity: 1 } })
  }
  d.lines.forEach((line, k) => {
    const ink = colour(line.colour)
    const extra = k === 0 ? { markLine: marks(d), markArea: area(d) } : {}
    if (line.style === 'bars') {
      series.push({ type: 'bar', name: line.name, data: line.values, itemStyle: { color: ink, borderRadius: [2, 2, 0, 0] }, barMaxWidth: 14, ...extra })
      return
    }
    if (line.style === 'points') {
      series.push({ type: 'line', name: line.name, data: line.values, symbol: 'circle', symbolSize: 10, itemStyle: { color: ink }, lineStyle: { opacity: 0 }, emphasis: { disabled: true }, z: 4, ...extra })
      return
    }
    const type = line.style === 'dashed' ? [6, 4] : line.style === 'dotted' ? [2, 3] : 'solid'
    series.push({
      type: 'line', name: line.name, data: line.values, symbol: line.values.filter((v) => v !== null).length === 1 ? 'circle' : 'none', symbolSize: 6, connectNulls: !!line.connect, step: line.style === 'steps' ? 'end' : false,
      lineStyle: { color: ink, width: line.style === 'faint' ? 1.3 : 2, type, opacity: line.style === 'faint' ? 0.75 : 1 },
      itemStyle: { color: ink }, emphasis: { disabled: true }, z: line.style === 'faint' ? 2 : 3, ...extra,
    })
  })
  const text = { color: colour('faint'), fontSize: 11.5, fontFamily: getComputedStyle(document.body).fontFamily }
  return {
    animationDuration: still ? 0 : 260,
    animationDurationUpdate: 0,
    textStyle: { fontFamily: text.fontFamily },
    grid: { left: 4, right: 12, top: 14, bottom: 2, containLabel: true },
    xAxis: {
      type: 'category', data: d.x, boundaryGap: d.lines.some((l) => l.style === 'bars'),
      axisLine: { lineStyle: { color: colour('rule') } }, axisTick: { show: false },
      axisLabel: { ...text, hideOverlap: true, formatter: (ds: string) => day(ds, d.x.length > 400 ? 'full' : 'short') },
    },
    yAxis: {
      type: 'value', scale: !d.zero, splitNumber: 4, min: d.zero ? 0 : undefined,
      axisLabel: { ...text, formatter: (v: number) => d.format(v) },
      splitLine: { lineStyle: { color: colour('rule'), type: [3, 4] } },
    },
    tooltip: {
      trigger: 'axis', confine: true, transitionDuration: 0, backgroundColor: colour('card'), borderColor: colour('rule'), padding: [9, 12],
      textStyle: { color: colour('ink'), fontSize: 12.5 }, axisPointer: { lineStyle: { color: colour('rule-strong'), type: 'solid' } },
      formatter: (points: { dataIndex: number }[]) => told(d, points[0]?.dataIndex ?? 0),
    },
    series,
  }
}

/** The tooltip as elements: the policy of contents allows no styles in text. */
function told(d: Drawn, k: number): HTMLElement {
  const box = document.createElement('div')
  const add = (name: string, value: string, ink?: string) => {
    const line = document.createElement('div')
    line.style.cssText = 'display:flex;gap:16px;justify-content:space-between;align-items:center;line-height:1.7'
    const left = document.createElement('span')
    if (ink) {
      const dot = document.createElement('i')
      dot.style.cssText = `display:inline-block;width:9px;height:9px;border-radius:3px;margin-inline-end:7px;background:${ink}`
      left.append(dot)
    }
    left.append(name)
    const right = document.createElement('strong')
    right.style.fontVariantNumeric = 'tabular-nums'
    right.append(value)
    line.append(left, right)
    box.append(line)
  }
  const head = document.createElement('div')
  head.style.cssText = `font-weight:640;margin-bottom:3px;color:${d.token('soft')}`
  head.append(d.label ? d.label(d.x[k]!) : day(d.x[k], 'weekday'))
  box.append(head)
  for (const line of d.lines) {
    const v = line.values[k]
    if (v !== null && v !== undefined) add(line.name, d.format(v), d.token(line.colour))
  }
  const [low, high] = [d.band?.lower[k], d.band?.upper[k]]
  if (d.band && low !== null && low !== undefined && high !== null && high !== undefined) add(d.band.name, `${d.format(low)} – ${d.format(high)}`, d.token('band'))
  for (const mark of d.marks ?? []) if (mark.x === d.x[k]) add(mark.text, '')
  return box
}

function marks(d: Drawn): object | undefined {
  if (!d.marks?.length) return undefined
  return {
    silent: true, symbol: 'none', animation: false, label: { show: d.marks.some((m) => m.label), formatter: (at: { name: string }) => at.name, position: 'insideEndTop', rotate: 0, color: d.token('soft'), fontSize: 11.5 },
    lineStyle: { color: d.token('warn'), type: [4, 3], width: 1.5 },
    data: d.marks.filter((m) => d.x.includes(m.x)).map((m) => ({ xAxis: m.x, name: m.label ?? '' })),
  }
}

function area(d: Drawn): object | undefined {
  if (!d.ahead || !d.x.includes(d.ahead)) return undefined
  return {
    silent: true, animation: false, itemStyle: { color: d.token('hold-soft'), opacity: 0.38 },
    data: [[{ xAxis: d.ahead }, { xAxis: d.x[d.x.length - 1] }]],
  }
}
