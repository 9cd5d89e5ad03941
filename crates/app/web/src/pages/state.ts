/** The look of a state of a run. */
export function toneOf(state: string): string {
  if (state === 'succeeded' || state === 'cached') return 'good'
  if (state === 'failed') return 'bad'
  if (state === 'running') return 'accent'
  return state === 'cancelled' ? 'warn' : ''
}

export const over = (state: string) => !['queued', 'running'].includes(state)
