/** Short words about what was done. */
import { reactive } from 'vue'

export const toasts = reactive<{ id: number; text: string }[]>([])
let count = 0

export function toast(text: string): void {
  const id = (count += 1)
  toasts.push({ id, text })
  setTimeout(() => toasts.splice(toasts.findIndex((one) => one.id === id), 1), 5000)
}
