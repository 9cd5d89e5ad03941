/** Files that a page makes: tables as CSV, charts as pictures. */

/** A field as RFC 4180 writes it; a text that a spreadsheet would take for a formula is made plain. */
function field(value: unknown): string {
  if (value === null || value === undefined) return ''
  if (typeof value === 'number') return Number.isFinite(value) ? String(value) : ''
  let text = String(value)
  if (/^[=+\-@\t\r]/.test(text)) text = `'${text}`
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}

/** Rows as CSV. The mark of the byte order lets spreadsheets read Chinese. */
export function csv(header: string[], rows: unknown[][]): string {
  return '\ufeff' + [header, ...rows].map((r) => r.map(field).join(',')).join('\r\n') + '\r\n'
}

export function save(name: string, content: Blob): void {
  const link = document.createElement('a')
  link.href = URL.createObjectURL(content)
  link.download = name.replace(/[^\p{L}\p{N}._-]+/gu, '-')
  document.body.append(link)
  link.click()
  link.remove()
  setTimeout(() => URL.revokeObjectURL(link.href), 1000)
}

export function saveCsv(name: string, header: string[], rows: unknown[][]): void {
  save(`${name}.csv`, new Blob([csv(header, rows)], { type: 'text/csv;charset=utf-8' }))
}
