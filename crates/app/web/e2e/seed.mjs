// Fills a running demo server with what its simulated history has none of: experiments in every state, with users, what
// they did, and readings. Used by ci.sh; TRADEWIND_URL and TRADEWIND_KEY as for run.mjs. The server's
// `[events] collect_seconds` must be short.
const url = process.env.TRADEWIND_URL ?? 'http://127.0.0.1:8080'
const key = process.env.TRADEWIND_KEY
const USERS = 900

async function ask(method, path, body) {
  const response = await fetch(url + path, { method, headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' }, body: body && JSON.stringify(body) })
  const text = await response.text()
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text.slice(0, 400)}`)
  return text ? JSON.parse(text) : null
}

/** The same numbers each time, so that pictures can be compared. */
let state = 7
const random = () => (state = (state * 1103515245 + 12345) % 2147483648) / 2147483648

/** Users before the experiment, so that there is a time before to adjust by; then exposures, then what users do. */
const product = (await ask('GET', '/v1/products?limit=1')).products[0].id
const events = []
const day = 86_400_000
let sent = 0
const event = (user, kind, at) => events.push({ event_id: `seed-${(sent += 1)}`, user_id: user, event: kind, product_id: product, ...(at ? { ds: new Date(at).toISOString() } : {}) })
async function send() {
  for (let k = 0; k < events.length; k += 5000) {
    const answer = await ask('POST', '/v1/events', { events: events.slice(k, k + 5000) })
    if (answer.rejected || answer.duplicates) throw new Error(`events were refused: ${JSON.stringify(answer.faults.slice(0, 2))}`)
  }
}

const half = [{ name: 'control', percent: 50 }, { name: 'short_form', percent: 50, settings: { fields: 3 } }]
const plans = [
  { name: 'checkout', hypothesis: 'Fewer fields in the checkout lead to more orders.', layer: 'checkout', arms: half, metrics: [{ name: 'cart_rate', purpose: 'primary' }, { name: 'click_through', purpose: 'guard', margin_percent: 20 }, { name: 'conversion', purpose: 'secondary' }], judged: 'sequential', users: 1200, reason: 'agreed on Monday' },
  { name: 'pictures', hypothesis: 'A larger picture sells more.', layer: 'pictures', arms: [{ name: 'small', percent: 50 }, { name: 'large', percent: 50 }], metrics: [{ name: 'cart_rate', purpose: 'primary' }], judged: 'sequential', users: 1000, reason: 'agreed on Monday' },
  { name: 'banner', hypothesis: 'A banner of the season draws more clicks.', layer: 'banner', arms: half, metrics: [{ name: 'click_through', purpose: 'primary' }], judged: 'fixed', users: 5000, reason: 'for the season' },
]
for (const plan of plans) await ask('POST', '/v1/experiments', plan)
for (const name of ['checkout', 'pictures']) await ask('POST', `/v1/experiments/${name}/start`, { reason: 'all is ready' })
const now = Date.now()
const eager = Array.from({ length: USERS }, random)
for (let k = 0; k < USERS; k += 1) for (let n = 0; n < 2; n += 1) {
  event(`T${k}`, 'view', now - (3 + n * 3) * day)
  if (random() < eager[k]) event(`T${k}`, 'cart', now - (3 + n * 3) * day + 60_000)
}
await send()
events.length = 0
const look = async (name) => {
  for (let n = 0; ; n += 1) {
    // Events are in the table once they were collected.
    await new Promise((go) => setTimeout(go, 2500))
    try {
      return await ask('POST', `/v1/experiments/${name}/looks`)
    } catch (e) {
      if (n >= 8) throw e
    }
  }
}
async function part(from, to) {
  for (let k = from; k < to; k += 30) {
    await Promise.all(Array.from({ length: Math.min(30, to - k) }, async (_, j) => {
      const user = `T${k + j}`
      const arms = (await ask('POST', '/v1/experiments/assign', { user_id: user })).arms
      const short = arms.some((a) => a.experiment === 'checkout' && a.arm === 'short_form')
      event(user, 'view', 0)
      event(user, 'view', 0)
      if (random() < 0.5) event(user, 'click', 0)
      if (random() < 0.25 + 0.4 * eager[k + j] + (short ? 0.12 : 0)) event(user, 'cart', 0)
    }))
  }
  await send()
  events.length = 0
}
for (const [from, to] of [[0, 300], [300, 600], [600, USERS]]) {
  await part(from, to)
  const told = await look('checkout')
  console.log(`checkout, reading ${told.look}: ${told.en[0]}`)
}
const pictures = await look('pictures')
console.log(`pictures: ${pictures.en[0]}`)
