{{/* What servers and workers have in common. */}}
{{- define "tradewind.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ .Values.podSecurity.runAsUser }}
runAsGroup: {{ .Values.podSecurity.runAsGroup }}
fsGroup: {{ .Values.podSecurity.fsGroup }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "tradewind.containerSecurity" -}}
allowPrivilegeEscalation: false
privileged: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- define "tradewind.env" -}}
{{- $v := .Values -}}
{{- $made := include "tradewind.fullname" . -}}
{{- if $v.state.external }}
- name: TRADEWIND_STATE
  valueFrom:
    secretKeyRef:
      name: {{ $v.state.existingSecret | default $made }}
      key: {{ if $v.state.existingSecret }}{{ $v.state.existingSecretKey }}{{ else }}state{{ end }}
{{- end }}
{{- if ne $v.events.log "embedded" }}
- name: TRADEWIND_EVENTS
  valueFrom:
    secretKeyRef:
      name: {{ $v.events.existingSecret | default $made }}
      key: {{ if $v.events.existingSecret }}{{ $v.events.existingSecretKey }}{{ else }}events{{ end }}
{{- end }}
{{- if $v.artifacts.url }}
- name: AWS_REGION
  value: {{ $v.artifacts.s3.region | quote }}
{{- with $v.artifacts.s3.endpoint }}
- name: AWS_ENDPOINT_URL
  value: {{ . | quote }}
{{- end }}
{{- if $v.artifacts.s3.allowHttp }}
- name: AWS_ALLOW_HTTP
  value: "true"
{{- end }}
{{- if or $v.artifacts.s3.existingSecret $v.artifacts.s3.accessKeyId }}
{{- range $name := list "AWS_ACCESS_KEY_ID" "AWS_SECRET_ACCESS_KEY" }}
- name: {{ $name }}
  valueFrom:
    secretKeyRef:
      name: {{ $v.artifacts.s3.existingSecret | default $made }}
      key: {{ $name }}
{{- end }}
{{- end }}
{{- end }}
{{- with $v.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Makes the shop's folder at the first start; leaves one that is there as it is. */}}
{{- define "tradewind.initContainer" -}}
- name: init
  image: {{ include "tradewind.image" .root | quote }}
  imagePullPolicy: {{ .root.Values.image.pullPolicy }}
  args: ["init", "--if-absent", "/shop"]
  securityContext:
    {{- include "tradewind.containerSecurity" .root | nindent 4 }}
  resources:
    {{- toYaml .resources | nindent 4 }}
  volumeMounts:
    - name: shop
      mountPath: /shop
      {{- with .subPath }}
      subPath: {{ . }}
      {{- end }}
    - name: tmp
      mountPath: /tmp
{{- end -}}

{{- define "tradewind.mounts" -}}
- name: shop
  mountPath: /shop
  {{- with .subPath }}
  subPath: {{ . }}
  {{- end }}
- name: settings
  mountPath: /shop/tradewind.toml
  subPath: tradewind.toml
  readOnly: true
- name: tmp
  mountPath: /tmp
{{- if .root.Values.tls.existingSecret }}
- name: tls
  mountPath: /tls
  readOnly: true
{{- end }}
{{- end -}}

{{- define "tradewind.volumes" -}}
- name: settings
  configMap:
    name: {{ include "tradewind.fullname" . }}
- name: tmp
  emptyDir:
    sizeLimit: 1Gi
{{- with .Values.tls.existingSecret }}
- name: tls
  secret:
    secretName: {{ . }}
    # Read by the group of the pod, which the server runs in.
    defaultMode: 0440
{{- end }}
{{- end -}}

{{/* A change of settings or of secrets made here starts pods anew: files mounted by subPath do not follow by themselves. */}}
{{- define "tradewind.annotations" -}}
checksum/settings: {{ include "tradewind.settings" . | sha256sum }}
{{- /* Sixteen bits tell that a secret changed and do not help to guess it. */}}
checksum/secret: {{ include "tradewind.secretData" . | sha256sum | trunc 4 | quote }}
{{- with .Values.podAnnotations }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "tradewind.placement" -}}
{{- $v := .root.Values -}}
{{- with $v.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $v.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $v.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $v.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
topologySpreadConstraints:
  {{- if $v.topologySpreadConstraints }}
  {{- toYaml $v.topologySpreadConstraints | nindent 2 }}
  {{- else }}
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "tradewind.selector" . | nindent 8 }}
  {{- end }}
{{- end -}}
