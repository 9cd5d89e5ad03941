/**
 * Who is signed in. The key lies in sessionStorage alone: it ends with the tab, is in no address, no cookie and no file,
 * and is sent to this server only, in the header that it reads keys from.
 */
import { computed, reactive } from 'vue'
import type { Me, Role, Scope } from './api/types'

const KEY = 'tradewind.key'
const ROLES: Role[] = ['viewer', 'analyst', 'operator', 'admin']

export const session = reactive<{ me: Me | null; ended: boolean }>({ me: null, ended: false })

export function key(): string | null {
  return sessionStorage.getItem(KEY)
}

export function keepKey(text: string): void {
  sessionStorage.setItem(KEY, text)
  session.ended = false
}

/**
 * Takes the key of a link that signs in, `/#key=tw_…`: what stands behind the # is sent nowhere, and it leaves the address
 * at once. Who is signed in stays who they are.
 */
export function takeKeyOfLink(): void {
  const given = /^#key=(tw_\w+)$/.exec(location.hash)?.[1]
  if (!given) return
  if (!key()) keepKey(given)
  history.replaceState(history.state, '', location.pathname + location.search)
}

/** Forgets the key. `ended`: because the server no longer takes it. */
export function signOut(ended = false): void {
  sessionStorage.removeItem(KEY)
  session.me = null
  session.ended = ended
}

/** Whether the key's role and scopes reach. */
export function may(role: Role, scope?: Scope): boolean {
  const me = session.me
  if (!me) return false
  const has = ROLES.indexOf(me.role as Role) >= ROLES.indexOf(role)
  return has && (!scope || me.scopes.includes('*') || me.scopes.includes(scope))
}

export const signedIn = computed(() => session.me !== null)
