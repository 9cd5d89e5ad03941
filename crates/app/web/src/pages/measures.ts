/** Which of a version's measures tells most, and which way is better. */
import type { ModelVersion } from '../api/types'

/** The measure by which a pipeline chooses, by kind; the first that a version has. */
const FIRST: Record<string, string[]> = {
  trends: ['accuracy', 'log_loss'],
  forecasts: ['wape', 'mase', 'mae'],
  prices: ['mae', 'wape', 'mase'],
  recommendations: ['ndcg_10', 'recall_10', 'hit_rate_10'],
  learn: ['auc', 'roc_auc', 'r2', 'rmse', 'mae', 'log_loss', 'accuracy'],
}

export interface Headline { name: string; base: string; value: number }

export function headline(version: ModelVersion): Headline | null {
  const names = Object.keys(version.metrics).filter((n) => !/_(naive|popularity)$/.test(n))
  for (const base of FIRST[version.kind] ?? []) {
    const name = names.find((n) => n === base) ?? names.find((n) => n.endsWith(base) && (n.includes('units') || n.includes('product'))) ?? names.find((n) => n.endsWith(base))
    if (name) return { name, base, value: version.metrics[name]! }
  }
  const name = names[0]
  return name ? { name, base: name, value: version.metrics[name]! } : null
}

/** The same measure of the simple method beside it. */
export function naive(version: ModelVersion, name: string): number | null {
  return version.metrics[`${name}_naive`] ?? version.metrics[`${name}_popularity`] ?? null
}

/** Whether a lower value is the better one; null where neither is. */
export function lowerIsBetter(name: string): boolean | null {
  if (/(mae|rmse|wape|mase|smape|mape|loss|error|brier|ece|pinball|crps|bias)/.test(name)) return true
  if (/(auc|accuracy|hit|right|ndcg|recall|precision|r2|map|mrr|f1|skill|coverage_10|correct)/.test(name)) return false
  return null
}
