// Opens every page of the dashboard in real Chromium against a real server, in both languages, and clicks the main
// paths. Fails on errors of the console, on answers that no page should get, on serious findings of axe, and when the
// first load or the first paint is beyond what is promised. Pictures of every page are left in e2e/out.
//
//   TRADEWIND_URL=http://127.0.0.1:8080 TRADEWIND_KEY=tw_… [CHROMIUM=/usr/bin/chromium] [LOOKS=light,zh-phone] [PAINT_MS=1000] npm run e2e
//
// TRADEWIND_KEY is an admin's; with TRADEWIND_VIEWER_KEY it is also seen what a viewer is not shown. LOOKS leaves looks
// out: light, dark and phone, in both languages or in one (en-light). demo.mjs brings a shop of its own up for it.
import { createRequire } from 'node:module'
import { mkdirSync, readFileSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { chromium } from 'playwright-core'

const url = process.env.TRADEWIND_URL ?? 'http://127.0.0.1:8080'
const key = process.env.TRADEWIND_KEY
if (!key) {
  console.error('TRADEWIND_KEY is missing: an admin\'s key of the server under test')
  process.exit(2)
}
const viewerKey = process.env.TRADEWIND_VIEWER_KEY
/** How soon a page must be painted; a build without optimisation, on a machine that also trains, is given more. */
const paintMax = Number(process.env.PAINT_MS ?? 1000)
const only = process.argv.slice(2)
const out = join(dirname(fileURLToPath(import.meta.url)), 'out')
if (!only.length) rmSync(out, { recursive: true, force: true })
mkdirSync(out, { recursive: true })
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

const faults = []
const fault = (where, what) => { faults.push(`${where}: ${what}`); console.error(`  ✕ ${where}: ${what}`) }
const check = (where, condition, what) => { if (!condition) fault(where, what) }


/** A window with language, light and size, signed in where a key is given. Its errors are faults unless expected. */
async function open(name, { lang = 'en', theme = 'light', width = 1440, height = 900, signIn = key } = {}) {
  // A browser of its own, so that one that breaks takes nothing else along.
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox', '--disable-dev-shm-usage', '--force-color-profile=srgb'] })
  const context = await browser.newContext({ viewport: { width, height }, locale: lang === 'zh' ? 'zh-CN' : 'en-US', reducedMotion: 'reduce', acceptDownloads: true })
  await context.addInitScript(([lang, theme, key]) => {
    localStorage.setItem('tradewind.preferences', JSON.stringify({ lang, theme, colours: 'neutral' }))
    if (key) sessionStorage.setItem('tradewind.key', key)
  }, [lang, theme, signIn])
  context.on('close', () => void browser.close().catch(() => {}))
  const page = await context.newPage()
  page.setDefaultTimeout(60_000)
  const expected = new Set()
  page.on('console', (m) => { if (m.type() === 'error' && ![...expected].some((e) => m.text().includes(e))) fault(name, `console: ${m.text()} ${m.location().url}`) })
  page.on('pageerror', (e) => fault(name, `page error: ${e.message}`))
  page.on('response', (r) => {
    const s = r.status()
    if (s >= 400 && ![...expected].some((e) => String(s).includes(e))) fault(name, `${s} ${r.request().method()} ${r.url()}`)
    check(name, !r.url().includes('tw_'), 'a key stands in an address')
  })
  return { page, context, expected }
}

/** Waits until what the page asked for is there. */
async function settled(page) {
  await page.waitForLoadState('networkidle')
  await page.waitForFunction(() => !document.querySelector('.skeleton'), null, { timeout: 60_000 })
  await page.waitForTimeout(350)
}

async function accessible(page, name) {
  // Added by the tester's own protocol, so the page's policy needs no exception.
  await page.evaluate(axe)
  const found = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'], runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }))
  for (const v of found.violations) {
    const text = `axe ${v.impact} ${v.id}: ${v.help} — ${v.nodes.slice(0, 2).map((n) => n.target.join(' ')).join(' | ')}`
    if (v.impact === 'serious' || v.impact === 'critical') fault(name, text)
    else console.log(`  · ${name}: ${text}`)
  }
}

async function wide(page, name) {
  const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)
  check(name, over <= 0, `the page is ${over} px wider than the window`)
}

/** Whether something ended within so many milliseconds. */
const within = (ms, work) => Promise.race([work.then(() => true), new Promise((end) => setTimeout(() => end(false), ms))])

/** Everything that is looked at on one page. */
async function seen(page, where, path) {
  const begun = Date.now()
  const painted = () => page.evaluate(() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? NaN)
  await page.goto(url + path)
  await settled(page)
  const took = Date.now() - begun
  let paint = await painted()
  for (let again = 0; paint > paintMax && again < 3; again++) {
    // A machine that does other work as well gets other tries.
    await page.reload()
    await settled(page)
    paint = await painted()
  }
  check(where, paint <= paintMax, `first paint after ${paint.toFixed(0)} ms`)
  check(where, (await page.locator('h1').count()) === 1, 'not one heading of the first level')
  check(where, !(await page.locator('main .problem').count()), 'a fault is shown')
  await wide(page, where)
  await accessible(page, where)
  await page.screenshot({ path: join(out, `${where}.png`), fullPage: true })
  console.log(`${where}: first paint ${paint.toFixed(0)} ms, whole after ${took} ms`)
}

const api = async (path) => (await fetch(url + path, { headers: { authorization: `Bearer ${key}` } })).json()
const trends = await api('/v1/trends?sort=moved&limit=1')
const product = trends.items?.[0]?.id
const jobs = (await api('/v1/jobs?limit=1')).jobs ?? []
const models = (await api('/v1/models')).models ?? []
const experiment = (await api('/v1/experiments')).experiments?.[0]?.name
const PAGES = [
  ['overview', '/'], ['trends', '/trends'], ['forecasts', '/forecasts'], ['prices', '/prices'], ['recommendations', '/recommendations'],
  ['quality', '/quality'], ['models', '/models'], ['monitoring', '/monitoring'], ['experiments', '/experiments'], ['jobs', '/jobs'], ['keys', '/keys'], ['audit', '/audit'], ['settings', '/settings'], ['nowhere', '/no/such/page'],
  ...(product ? [['product', `/trends/product/${encodeURIComponent(product)}`]] : []),
  ...(models[0] ? [['model', `/models/${encodeURIComponent((models.find((m) => m.versions > 1) ?? models[0]).name)}`]] : []),
  ...(experiment ? [['experiment', `/experiments/${experiment}`]] : []),
  ...(jobs[0] ? [['job', `/jobs/${jobs[0].id}`]] : []),
].filter(([name]) => !only.length || only.includes(name))

// 1. The sign-in page, what it weighs and how soon it is there.
if (!only.length) {
  for (const lang of ['en', 'zh']) {
    const name = `signin-${lang}`
    const { page, context, expected } = await open(name, { lang, signIn: null })
    let bytes = 0
    const protocol = await context.newCDPSession(page)
    await protocol.send('Network.enable')
    protocol.on('Network.loadingFinished', (e) => { bytes += e.encodedDataLength })
    await page.goto(url)
    await settled(page)
    const paint = await page.evaluate(() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? NaN)
    console.log(`${name}: first paint ${paint.toFixed(0)} ms, ${(bytes / 1000).toFixed(1)} KB transferred`)
    check(name, paint <= paintMax, `first paint after ${paint.toFixed(0)} ms`)
    check(name, bytes <= 300_000, `${bytes} bytes at first load`)
    await page.screenshot({ path: join(out, `${name}.png`) })
    await accessible(page, name)
    expected.add('401')
    await page.getByLabel(/^(API key|API 密钥)$/).fill('tw_wrong_key')
    await page.locator('form .button.main').click()
    await page.locator('.problem').waitFor()
    check(name, (await page.locator('.problem').innerText()).includes('unauthorized'), 'a wrong key is not told')
    await page.screenshot({ path: join(out, `${name}-refused.png`) })
    expected.clear()
    await page.getByLabel(/^(API key|API 密钥)$/).fill(key)
    await page.locator('form .button.main').click()
    await page.locator('nav.places').waitFor()
    await settled(page)
    check(name, !page.url().includes('tw_') && (await page.evaluate(() => JSON.stringify(localStorage))).indexOf('tw_') < 0, 'the key is kept where it should not be')
    await page.getByRole('button', { name: /Sign out|退出登录/ }).click()
    await page.getByLabel(/^(API key|API 密钥)$/).waitFor()
    check(name, (await page.evaluate(() => sessionStorage.length)) === 0, 'the key is still there after signing out')
    // A link that signs in, as the demo prints it.
    const linked = await context.newPage()
    await linked.goto(`${url}/#key=${key}`)
    await linked.locator('nav.places').waitFor()
    check(name, !linked.url().includes('tw_'), 'the key of a link stays in the address')
    await context.close()
  }
}

const PAGES_OF_A_BROWSER = 6

// 2. Every page, both languages; light wide, dark wide, and a phone.
const looks = process.env.LOOKS?.split(',')
for (const lang of ['en', 'zh']) {
  for (const [look, size] of [['light', { width: 1440, height: 900 }], ['dark', { width: 1440, height: 900 }], ['phone', { width: 390, height: 844 }]]) {
    if (looks && !looks.includes(look) && !looks.includes(`${lang}-${look}`)) continue
    const window = () => open(`${lang} ${look}`, { lang, theme: look === 'dark' ? 'dark' : 'light', ...size })
    let { page, context } = await window()
    for (const [k, [name, path]] of PAGES.entries()) {
      const where = `${name}-${lang}-${look}`
      // Chromium now and then stops answering after many pages: a few pages get a fresh one each, and a page a second try.
      for (const attempt of [1, 2]) {
        if (attempt === 2 || (k > 0 && k % PAGES_OF_A_BROWSER === 0)) {
          await within(10_000, context.close())
          ;({ page, context } = await window())
        }
        let why = 'the browser did not answer'
        const done = await within(90_000, seen(page, where, path)).catch((e) => { why = e.message.split('\n')[0]; return false })
        if (done) break
        if (attempt === 2) fault(where, why)
      }
    }
    await context.close()
  }
}

// 3. The main paths.
if (!only.length || only.includes('paths')) {
  const { page, context, expected } = await open('paths')
  const step = (what) => console.log(`path: ${what}`)
  await page.goto(url)
  await settled(page)
  step('another measure and window of the overview, a definition by keyboard')
  await page.locator('.tile button[aria-pressed]').nth(1).click()
  await page.getByRole('button', { name: '90 days' }).click()
  await settled(page)
  const tip = page.locator('.tile .tip button').first()
  await tip.focus()
  await page.keyboard.press('Enter')
  check('paths', await page.locator('[popover]:popover-open').isVisible(), 'a definition does not open by keyboard')
  await page.screenshot({ path: join(out, 'path-definition.png') })
  await page.keyboard.press('Escape')
  check('paths', !(await page.locator('[popover]:popover-open').count()), 'a definition does not close by Escape')
  step('a chart as table, CSV and PNG')
  const chart = page.locator('figure.chart').first()
  for (const kind of ['CSV', 'PNG']) {
    const [file] = await Promise.all([page.waitForEvent('download'), chart.getByRole('button', { name: kind }).click()])
    const text = readFileSync(await file.path())
    check('paths', kind === 'CSV' ? text.toString('utf8').split('\r\n').length > 20 : text.subarray(1, 4).toString() === 'PNG' && text.length > 5000, `${kind} is not as it should be`)
  }
  await chart.getByRole('button', { name: 'Table' }).click()
  check('paths', (await chart.locator('tbody tr').count()) > 20, 'the table of a chart is empty')
  await accessible(page, 'overview as table')
  step('trends: filter, open a product')
  await page.getByRole('navigation').getByRole('link', { name: 'Trends' }).click()
  await settled(page)
  await page.getByRole('button', { name: 'Rising', exact: true }).click()
  await settled(page)
  check('paths', page.url().includes('direction=rising'), 'the filter is not in the address')
  await page.locator('tbody th a').first().click()
  await page.locator('.reason').waitFor()
  await settled(page)
  if (await page.getByRole('link', { name: 'Similar items' }).count()) {
    await page.getByRole('link', { name: 'Similar items' }).click()
    await page.locator('.items li').first().waitFor().catch(() => fault('paths', 'no similar items'))
    await page.screenshot({ path: join(out, 'path-similar.png'), fullPage: true })
  }
  step('forecasts: find a product, compare methods, set a figure and take it back')
  await page.goto(`${url}/forecasts`)
  await settled(page)
  await page.getByRole('combobox', { name: 'Product' }).fill((product ?? 'P').slice(0, 3))
  await page.getByRole('option').first().waitFor()
  await page.keyboard.press('ArrowDown')
  await page.keyboard.press('Enter')
  await settled(page)
  await page.getByRole('button', { name: 'Compare methods' }).click()
  await page.getByText('Best', { exact: true }).waitFor({ timeout: 60_000 })
  await page.screenshot({ path: join(out, 'path-backtest.png'), fullPage: true })
  await page.getByRole('button', { name: 'Set a figure' }).click()
  await page.getByLabel('Figure', { exact: true }).fill('1.3')
  await page.getByLabel('Reason').fill('a check of the dashboard')
  await accessible(page, 'dialog')
  await page.screenshot({ path: join(out, 'path-override.png') })
  await page.getByRole('button', { name: 'Save' }).click()
  await page.getByText('a check of the dashboard').first().waitFor()
  await settled(page)
  await page.screenshot({ path: join(out, 'path-overridden.png'), fullPage: true })
  await page.getByRole('button', { name: 'Take back' }).first().click()
  await page.getByRole('dialog').getByLabel('Reason').fill('the check is over')
  await page.getByRole('dialog').getByRole('button', { name: 'Take back' }).click()
  await page.getByRole('dialog').waitFor({ state: 'detached' })
  step('an unknown product is told, with what to do')
  expected.add('404')
  await page.goto(`${url}/trends/product/nothing`)
  await page.locator('.problem').first().waitFor()
  await page.waitForTimeout(400)
  await page.screenshot({ path: join(out, 'path-not-found.png') })
  await accessible(page, 'problem')
  expected.clear()
  step('a model: compare, promote and roll back need a reason')
  await page.goto(`${url}/models`)
  await settled(page)
  const several = models.find((m) => m.versions > 1) ?? models[0]
  await page.getByRole('link', { name: several.name, exact: true }).click()
  await settled(page)
  const promote = page.getByRole('button', { name: 'Promote' })
  if (await promote.count()) {
    await promote.first().click()
    await page.screenshot({ path: join(out, 'path-promote.png') })
    await page.getByLabel('Reason', { exact: true }).fill('a check of the dashboard')
    await page.getByRole('button', { name: 'Confirm' }).click()
    await page.getByRole('dialog').waitFor({ state: 'detached' })
    await page.getByText('a check of the dashboard').first().waitFor()
    await page.getByRole('button', { name: 'Roll back' }).click()
    await page.getByLabel('Reason', { exact: true }).fill('the check is over')
    await page.getByRole('button', { name: 'Confirm' }).click()
    await page.getByText('the check is over').waitFor()
  }
  step('a job: start, follow, stop')
  await page.goto(`${url}/jobs`)
  await settled(page)
  await page.getByRole('button', { name: 'Start a run' }).click()
  await page.getByRole('dialog').getByLabel('Reason').fill('a check of the dashboard')
  await page.screenshot({ path: join(out, 'path-start.png') })
  await page.getByRole('dialog').getByRole('button', { name: 'Start a run' }).click()
  await page.waitForURL(/\/jobs\/\d+/)
  await page.getByText('Live', { exact: true }).waitFor()
  await page.waitForTimeout(2500)
  await page.screenshot({ path: join(out, 'path-live.png'), fullPage: true })
  await page.getByRole('button', { name: 'Log', exact: true }).first().click()
  await page.getByRole('button', { name: 'Stop the run' }).click()
  await page.getByRole('dialog').getByRole('button', { name: 'Stop the run' }).click()
  await page.locator('.head .badge', { hasText: /Stopped|Done|Failed/ }).waitFor({ timeout: 90_000 })
  await page.getByRole('button', { name: 'Run again' }).waitFor()
  await page.screenshot({ path: join(out, 'path-stopped.png'), fullPage: true })
  step('keys: make one, see it once, revoke it; the audit log tells')
  await page.goto(`${url}/keys`)
  await settled(page)
  await page.getByRole('button', { name: 'Make a key' }).click()
  await page.getByRole('dialog').getByLabel('Name').fill('a check of the dashboard')
  await page.screenshot({ path: join(out, 'path-key.png') })
  await page.getByRole('dialog').getByRole('button', { name: 'Confirm' }).click()
  const secret = (await page.locator('.secret').innerText()).trim()
  check('paths', secret.startsWith('tw_'), 'no secret is shown')
  await page.getByRole('button', { name: 'I have kept it' }).click()
  check('paths', !(await page.content()).includes(secret), 'the secret is still in the page')
  await page.locator('tr', { hasText: 'a check of the dashboard' }).getByRole('button', { name: 'Revoke' }).first().click()
  await page.getByRole('dialog').getByRole('button', { name: 'Confirm' }).click()
  await page.getByRole('dialog').waitFor({ state: 'detached' })
  await page.goto(`${url}/audit`)
  await settled(page)
  check('paths', (await page.getByText('keys.revoke').count()) > 0, 'the audit log does not tell of the key')
  await page.getByRole('button', { name: 'Check the chain' }).click()
  await page.getByText('The log is whole').waitFor()
  await page.screenshot({ path: join(out, 'path-audit.png') })
  step('language and light change at once')
  await page.getByRole('button', { name: '中文' }).click()
  await page.getByRole('heading', { name: '审计日志' }).waitFor()
  check('paths', (await page.getAttribute('html', 'lang')) === 'zh-CN', 'the language is not told')
  await page.getByRole('button', { name: '切换为深色' }).click()
  check('paths', (await page.getAttribute('html', 'data-theme')) === 'dark', 'the light did not change')
  await context.close()

  step('a phone: the menu opens, Escape closes it and gives the focus back')
  const phone = await open('phone', { lang: 'zh', width: 390, height: 844 })
  await phone.page.goto(url)
  await settled(phone.page)
  await phone.page.getByRole('button', { name: '菜单' }).click()
  await phone.page.waitForTimeout(300)
  await phone.page.screenshot({ path: join(out, 'path-menu.png') })
  await accessible(phone.page, 'menu')
  await phone.page.keyboard.press('Escape')
  check('phone', await phone.page.getByRole('button', { name: '菜单' }).evaluate((b) => b === document.activeElement), 'the focus is lost')
  await phone.page.getByRole('button', { name: '菜单' }).click()
  await phone.page.getByRole('link', { name: '趋势' }).click()
  await phone.page.getByRole('heading', { name: '趋势' }).waitFor()
  await phone.context.close()

  if (viewerKey) {
    step('a viewer sees no administration and no changes')
    const viewer = await open('viewer', { signIn: viewerKey })
    await viewer.page.goto(url)
    await settled(viewer.page)
    check('viewer', !(await viewer.page.getByRole('link', { name: /^(Keys|Audit log)$/ }).count()), 'a viewer is shown administration')
    for (const [path, button] of [['/jobs', 'Start a run'], ['/forecasts', 'Set a figure'], ['/models', 'Promote']]) {
      await viewer.page.goto(url + path)
      await settled(viewer.page)
      check('viewer', !(await viewer.page.getByRole('button', { name: button }).count()), `a viewer is shown “${button}”`)
    }
    await viewer.page.goto(`${url}/keys`)
    await viewer.page.getByRole('heading', { name: 'This page is not for your key' }).waitFor()
    await viewer.page.screenshot({ path: join(out, 'path-viewer.png') })
    await viewer.context.close()
  }
}

console.log(faults.length ? `${faults.length} faults` : 'no faults')
process.exit(faults.length ? 1 : 0)
