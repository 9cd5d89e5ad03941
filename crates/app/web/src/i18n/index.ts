/** Texts of the pages, in both languages, with the same keys: the compiler refuses a key that one of them lacks. */
import { preferences } from '../preferences'
import { en } from './en'
import { zh } from './zh'

export type Key = keyof typeof en
export const dictionaries: Record<'en' | 'zh', Record<Key, string>> = { en, zh }

/** The text of a key; `{name}` is filled from `values`. */
export function t(key: Key, values: Record<string, string | number> = {}): string {
  const text = dictionaries[preferences.lang][key]
  return text.replace(/\{(\w+)\}/g, (whole, name: string) => (name in values ? String(values[name]) : whole))
}

/** The text of a key put together from parts; the last part itself where there is none, as for a word of a newer server. */
export function word(group: string, name: string): string {
  const key = `${group}.${name}` as Key
  return key in en ? t(key) : name.replaceAll('_', ' ')
}

/** Whether there is a text. */
export function has(key: string): key is Key {
  return key in en
}
