/**
 * Asks the server. Paths, parameters and answers are typed by the server's own description (`schema.ts`, made by
 * `npm run api`), so a route that changes is a fault of the compiler here.
 */
import { key, signOut } from '../session'
import type { components, paths } from './schema'

export type Problem = components['schemas']['Problem']

/** A fault as the server told it (RFC 9457), or as the network did. */
export class ApiError extends Error {
  constructor(readonly problem: Problem, readonly retryAfter: number | null = null) {
    super(problem.detail || problem.title)
  }
}

type Json<R> = R extends { content: { 'application/json': infer Body } } ? Body : never
type Answer<O> = O extends { responses: infer R }
  ? R extends { 200: infer A } ? Json<A> : R extends { 201: infer A } ? Json<A> : R extends { 202: infer A } ? Json<A> : unknown
  : never
type QueryOf<O> = O extends { parameters: { query?: infer Q } } ? Q : never
type PathOf<O> = O extends { parameters: { path: infer P } } ? P : never
type BodyOf<O> = O extends { requestBody: { content: { 'application/json': infer B } } } ? B : never
type Has<M extends string> = { [P in keyof paths]: paths[P] extends Record<M, infer O> ? ([O] extends [undefined] ? never : P) : never }[keyof paths]

export interface Ask<O> {
  path?: { [K in keyof PathOf<O>]: string | number }
  query?: QueryOf<O>
  body?: BodyOf<O>
  signal?: AbortSignal
}

function address(pattern: string, path: Record<string, string | number> = {}, query: Record<string, unknown> = {}): string {
  const filled = pattern.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(String(path[name])))
  const pairs = Object.entries(query)
    .filter(([, v]) => v !== undefined && v !== null && v !== '' && v !== false)
    .map(([k, v]) => `${encodeURIComponent(k)}=${encodeURIComponent(String(v))}`)
  return pairs.length ? `${filled}?${pairs.join('&')}` : filled
}

const local = (code: string, title: string, detail: string): Problem => ({
  type: `urn:tradewind:problem:${code}`, title, status: 0, code, detail,
}) as Problem

/** The problem that an answer tells; a bare one where it tells none. */
async function problemOf(response: Response): Promise<ApiError> {
  const wait = Number(response.headers.get('retry-after'))
  let problem: Problem
  try {
    problem = (await response.json()) as Problem
    if (typeof problem.code !== 'string') throw new Error('no problem')
  } catch {
    problem = { ...local('unreadable', response.statusText || `HTTP ${response.status}`, ''), status: response.status }
  }
  return new ApiError(problem, Number.isFinite(wait) && wait > 0 ? wait : null)
}

export async function send(method: string, url: string, given: string | null, body?: unknown, signal?: AbortSignal, accept = 'application/json'): Promise<Response> {
  const headers: Record<string, string> = { accept }
  if (given) headers.authorization = `Bearer ${given}`
  if (body !== undefined) headers['content-type'] = 'application/json'
  let response: Response
  try {
    response = await fetch(url, {
      method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body),
      credentials: 'omit', redirect: 'error', referrerPolicy: 'no-referrer',
    })
  } catch (e) {
    if (signal?.aborted) throw e
    throw new ApiError(local('unreachable', '', ''))
  }
  if (!response.ok) {
    const fault = await problemOf(response)
    // The key was revoked or ended meanwhile.
    if (response.status === 401 && given && given === key()) signOut(true)
    throw fault
  }
  return response
}

async function call<O>(method: string, pattern: string, asked: Ask<O>): Promise<Answer<O>> {
  const url = address(pattern, asked.path as Record<string, string | number>, asked.query as Record<string, unknown>)
  const response = await send(method, url, key(), asked.body, asked.signal)
  return (await response.json()) as Answer<O>
}

type Op<P extends keyof paths, M extends string> = paths[P] extends Record<M, infer O> ? O : never

export const get = <P extends Has<'get'>>(p: P, asked: Ask<Op<P, 'get'>> = {}) => call<Op<P, 'get'>>('GET', p, asked)
export const post = <P extends Has<'post'>>(p: P, asked: Ask<Op<P, 'post'>> = {}) => call<Op<P, 'post'>>('POST', p, asked)
export const put = <P extends Has<'put'>>(p: P, asked: Ask<Op<P, 'put'>> = {}) => call<Op<P, 'put'>>('PUT', p, asked)
export const del = <P extends Has<'delete'>>(p: P, asked: Ask<Op<P, 'delete'>> = {}) => call<Op<P, 'delete'>>('DELETE', p, asked)

/** Who a key belongs to, without keeping it. */
export async function whoIs(given: string): Promise<components['schemas']['Me']> {
  const response = await send('GET', '/v1/me', given)
  return (await response.json()) as components['schemas']['Me']
}

/** Whether the server is ready, with its conditions; it needs no key and says so with 503 when it is not. */
export async function readiness(): Promise<components['schemas']['Health']> {
  const response = await fetch('/readyz', { headers: { accept: 'application/json' }, credentials: 'omit' })
  return (await response.json()) as components['schemas']['Health']
}

export interface Change {
  run: number
  step: string
  state: string
  attempt: number
  done: number
  total: number
  message: string
}

/**
 * Follows a run until it ends or `signal` says so. `EventSource` cannot send a header, and a key belongs into no
 * address, so the stream is read by hand. It goes on from the last event when the connection breaks.
 */
export async function follow(job: number, onChange: (change: Change) => void, signal: AbortSignal): Promise<void> {
  let last = ''
  let fails = 0
  while (!signal.aborted && fails < 5) {
    try {
      const headers: Record<string, string> = { accept: 'text/event-stream', authorization: `Bearer ${key() ?? ''}` }
      if (last) headers['last-event-id'] = last
      const response = await fetch(`/v1/jobs/${job}/events`, { headers, signal, credentials: 'omit' })
      if (!response.ok || !response.body) throw await problemOf(response)
      fails = 0
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader()
      let text = ''
      let over = false
      for (;;) {
        const { value, done } = await reader.read()
        if (done) break
        text += value
        let end: number
        while ((end = text.indexOf('\n\n')) >= 0) {
          const lines = text.slice(0, end).split('\n')
          text = text.slice(end + 2)
          const field = (name: string) => lines.find((l) => l.startsWith(`${name}:`))?.slice(name.length + 1).trim()
          last = field('id') ?? last
          const data = field('data')
          if (!data) continue
          const change = JSON.parse(data) as Change
          onChange(change)
          if (!change.step && ['succeeded', 'failed', 'cancelled', 'skipped', 'cached'].includes(change.state)) over = true
        }
      }
      if (over) return
    } catch (e) {
      if (signal.aborted) return
      if (e instanceof ApiError && e.problem.status >= 400 && e.problem.status < 500) return
      fails += 1
    }
    await new Promise((go) => setTimeout(go, 500 * 2 ** fails))
  }
}
