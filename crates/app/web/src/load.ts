/** Asking for what a page shows, again whenever the question changes; an answer that came too late is thrown away. */
import { onScopeDispose, ref, shallowRef, watch, type Ref, type ShallowRef } from 'vue'
import { ApiError } from './api/client'

export interface Loaded<T> {
  data: ShallowRef<T | null>
  error: ShallowRef<ApiError | null>
  loading: Ref<boolean>
  reload: () => Promise<void>
}

export function load<T>(ask: (signal: AbortSignal) => Promise<T> | null, question?: () => unknown): Loaded<T> {
  const data = shallowRef<T | null>(null)
  const error = shallowRef<ApiError | null>(null)
  const loading = ref(true)
  let under: AbortController | null = null
  const reload = async () => {
    under?.abort()
    const mine = (under = new AbortController())
    const asked = ask(mine.signal)
    if (!asked) {
      data.value = null
      error.value = null
      loading.value = false
      return
    }
    loading.value = true
    try {
      const answer = await asked
      if (mine.signal.aborted) return
      data.value = answer
      error.value = null
    } catch (e) {
      if (mine.signal.aborted) return
      error.value = faultOf(e)
      data.value = null
    } finally {
      if (!mine.signal.aborted) loading.value = false
    }
  }
  if (question) watch(question, reload, { immediate: true, deep: true })
  else void reload()
  onScopeDispose(() => under?.abort())
  return { data, error, loading, reload }
}

/** Whatever was thrown, as a fault that can be shown. */
export function faultOf(e: unknown): ApiError {
  if (e instanceof ApiError) return e
  console.error(e)
  return new ApiError({ type: 'urn:tradewind:problem:page', title: '', status: 0, code: 'page', detail: String(e) } as ApiError['problem'])
}
