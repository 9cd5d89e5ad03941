{{/*
tradewind.toml. What the chart decides itself comes from one map, so that a key that is renamed is changed in one place;
secrets are named by the environment variable that holds them, never written.
*/}}
{{- define "tradewind.ownSettings" -}}
{{- $v := .Values -}}
ops:
  {{- if $v.state.external }}
  state: "env:TRADEWIND_STATE"
  {{- end }}
  {{- if $v.artifacts.url }}
  registry: {{ $v.artifacts.url | quote }}
  {{- end }}
events:
  {{- if ne $v.events.log "embedded" }}
  address: "env:TRADEWIND_EVENTS"
  {{- end }}
serve:
  {{- if $v.metrics.enabled }}
  metrics_listen: {{ printf "0.0.0.0:%d" (int $v.metrics.port) | quote }}
  {{- end }}
  {{- if $v.tls.existingSecret }}
  tls_certificate: /tls/tls.crt
  tls_key: /tls/tls.key
  {{- end }}
{{- end -}}

{{- define "tradewind.settings" -}}
{{- $own := include "tradewind.ownSettings" . | fromYaml -}}
{{- $all := deepCopy .Values.settings -}}
{{- range $section, $keys := $own -}}
{{- range $key, $value := $keys -}}
{{- if hasKey (get $all $section | default dict) $key -}}
{{- fail (printf "settings.%s.%s is decided by other values of this chart: take it out of settings" $section $key) -}}
{{- end -}}
{{- $_ := set $all $section (merge (dict $key $value) (get $all $section | default dict)) -}}
{{- end -}}
{{- end -}}
# Made by the chart from its values.
{{- range $section := keys $all | sortAlpha }}

[{{ $section }}]
{{- $keys := get $all $section -}}
{{- range $key := keys $keys | sortAlpha }}
{{ $key }} = {{ include "tradewind.toml" (get $keys $key) }}
{{- end }}
{{- end }}
{{- end -}}

{{/* A value of TOML. YAML's numbers come as floats; a whole one is written without a point. */}}
{{- define "tradewind.toml" -}}
{{- if kindIs "slice" . -}}
[{{ range $i, $item := . }}{{ if $i }}, {{ end }}{{ include "tradewind.toml" $item }}{{ end }}]
{{- else if kindIs "string" . -}}
{{ . | toJson }}
{{- else if and (kindIs "float64" .) (eq (floor .) .) -}}
{{ printf "%.0f" . }}
{{- else -}}
{{ . }}
{{- end -}}
{{- end -}}
