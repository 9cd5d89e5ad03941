// Brings up `tradewind demo --serve` and lets run.mjs look at its dashboard.
//
//   TRADEWIND_BIN=…/tradewind [CHROMIUM=/usr/bin/chromium] [LOOKS=light] node e2e/demo.mjs [-- options of the demo]
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

const bin = process.env.TRADEWIND_BIN
if (!bin) {
  console.error('TRADEWIND_BIN is missing: the program under test')
  process.exit(2)
}
const at = process.argv.indexOf('--')
const options = at < 0 ? [] : process.argv.splice(at).slice(1)
const dir = mkdtempSync(join(tmpdir(), 'tradewind-e2e-'))
const demo = spawn(bin, ['demo', '--serve', '--json', '--listen', '127.0.0.1:0', '--dir', join(dir, 'shop'), ...options], { stdio: ['ignore', 'pipe', 'inherit'] })
process.on('exit', () => {
  demo.kill('SIGKILL')
  rmSync(dir, { recursive: true, force: true })
})
demo.on('exit', (code) => {
  console.error(`the demo ended by itself: ${code}`)
  process.exit(1)
})
for await (const line of createInterface({ input: demo.stdout })) {
  const told = JSON.parse(line)
  if (told.key) {
    process.env.TRADEWIND_URL = told.url
    process.env.TRADEWIND_KEY = told.key
  }
  if (told.ready) console.log(`the demo was ready after ${told.seconds.toFixed(1)} s`)
  if (told.renewed) {
    console.log(`its newest models answered after ${told.seconds.toFixed(1)} s`)
    break
  }
}
const answer = await fetch(`${process.env.TRADEWIND_URL}/v1/keys`, {
  method: 'POST',
  headers: { authorization: `Bearer ${process.env.TRADEWIND_KEY}`, 'content-type': 'application/json' },
  body: JSON.stringify({ name: 'a viewer', role: 'viewer' }),
})
process.env.TRADEWIND_VIEWER_KEY = (await answer.json()).secret
await import('./run.mjs')
