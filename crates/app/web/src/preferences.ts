/**
 * What a person chose on this machine: language, light or dark, colours of rise and fall. Nothing here is secret, so it
 * lies in localStorage and is there next time.
 */
import { reactive, watch } from 'vue'

export type Lang = 'en' | 'zh'
export type Theme = 'system' | 'light' | 'dark'
/**
 * Red means a rise in China and a loss elsewhere, so neither is the default: blue and orange carry no such meaning and
 * are told apart by nearly everybody who is colour-blind. Arrows say the direction in any case.
 */
export type Colours = 'neutral' | 'red_up' | 'green_up'

const KEY = 'tradewind.preferences'

interface Preferences {
  lang: Lang
  theme: Theme
  colours: Colours
}

function initial(): Preferences {
  const usual: Preferences = {
    lang: navigator.language.toLowerCase().startsWith('zh') ? 'zh' : 'en',
    theme: 'system',
    colours: 'neutral',
  }
  try {
    const kept = JSON.parse(localStorage.getItem(KEY) ?? '{}') as Partial<Preferences>
    if (kept.lang === 'en' || kept.lang === 'zh') usual.lang = kept.lang
    if (kept.theme === 'light' || kept.theme === 'dark') usual.theme = kept.theme
    if (kept.colours === 'red_up' || kept.colours === 'green_up') usual.colours = kept.colours
  } catch {
    // A browser that keeps nothing shows the defaults.
  }
  return usual
}

export const preferences = reactive(initial())

/** Whether the page is dark now. */
export const dark = reactive({ on: false })

export function applyPreferences(): void {
  const system = matchMedia('(prefers-color-scheme: dark)')
  const apply = () => {
    const root = document.documentElement
    root.lang = preferences.lang === 'zh' ? 'zh-CN' : 'en'
    dark.on = preferences.theme === 'dark' || (preferences.theme === 'system' && system.matches)
    root.dataset.theme = dark.on ? 'dark' : 'light'
    root.dataset.colours = preferences.colours
  }
  apply()
  system.addEventListener('change', apply)
  watch(preferences, () => {
    apply()
    try {
      localStorage.setItem(KEY, JSON.stringify(preferences))
    } catch {
      // Then it holds for this visit.
    }
  })
}
