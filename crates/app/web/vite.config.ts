import { readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { brotliCompressSync, constants, gzipSync } from 'node:zlib'
import vue from '@vitejs/plugin-vue'
import type { Plugin } from 'vite'
import { defineConfig } from 'vitest/config'

/** Writes each file compressed beside itself, so that the server sends it without work. */
function compressed(): Plugin {
  let folder = 'dist'
  const walk = (at: string): string[] =>
    readdirSync(at).flatMap((name) => {
      const path = join(at, name)
      return statSync(path).isDirectory() ? walk(path) : [path]
    })
  return {
    name: 'compressed',
    apply: 'build',
    configResolved(config) {
      folder = config.build.outDir
    },
    closeBundle() {
      for (const path of walk(folder)) {
        if (!/\.(js|css|html|svg|json|webmanifest)$/.test(path)) continue
        const bytes = readFileSync(path)
        const forms: [string, Buffer][] = [
          ['gz', gzipSync(bytes, { level: 9 })],
          ['br', brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length } })],
        ]
        for (const [ending, form] of forms) if (form.length < bytes.length) writeFileSync(`${path}.${ending}`, form)
      }
    },
  }
}

const server = process.env.TRADEWIND_URL ?? 'http://127.0.0.1:8080'

export default defineConfig({
  plugins: [vue(), compressed()],
  define: { __VUE_OPTIONS_API__: 'false', __VUE_PROD_DEVTOOLS__: 'false' },
  build: {
    target: 'es2022',
    // Small files inside others would need `data:` in the policy of contents.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 700,
  },
  test: { setupFiles: ['test/setup.ts'], include: ['test/**/*.test.ts'] },
  server: { proxy: { '/v1': server, '/livez': server, '/readyz': server, '/docs': server } },
})
