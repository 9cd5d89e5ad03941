/** What a chart over days is made of; positions are those of its list of days. */
export interface Line {
  name: string
  values: (number | null)[]
  /** The name of a colour of `styles.css`. */
  colour: string
  /** Whether days without a value are bridged, as for prices, which hold until the next. */
  connect?: boolean
  style?: 'solid' | 'dashed' | 'dotted' | 'faint' | 'bars' | 'steps' | 'points'
}

export interface Band {
  name: string
  lower: (number | null)[]
  upper: (number | null)[]
}

export interface Mark {
  x: string
  text: string
  /** What stands at the mark itself, where there is room for a word. */
  label?: string
}

/** Days from the first of `parts` to the last, each once, in order. */
export function daysOf(...parts: string[][]): string[] {
  return [...new Set(parts.flat())].sort()
}

/** Values of some days at their positions among all days. */
export function placed(all: string[], days: string[], values: (number | null)[]): (number | null)[] {
  const at = new Map(days.map((d, k) => [d, values[k] ?? null]))
  return all.map((d) => at.get(d) ?? null)
}
