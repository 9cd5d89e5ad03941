{{/*
What values may stand together. values.schema.json checks each value; here is what only several of them tell.
Empty when all is well, else it stops with words that say what to change.
*/}}
{{- define "tradewind.rules" -}}
{{- $v := .Values -}}
{{- $many := or (gt (int $v.replicas) 1) $v.autoscaling.enabled -}}
{{- if and $v.state.external (not (or $v.state.url $v.state.existingSecret)) -}}
{{- fail "state.external is true, but no address is given: set state.url or state.existingSecret" -}}
{{- end -}}
{{- if and $v.state.url $v.state.existingSecret -}}
{{- fail "state.url and state.existingSecret are both set: keep one" -}}
{{- end -}}
{{- if and (not $v.state.external) (or $v.state.url $v.state.existingSecret) -}}
{{- fail "an address of a database is given, but state.external is false: set it to true" -}}
{{- end -}}
{{- if and (ne $v.events.log "embedded") (not (or $v.events.url $v.events.existingSecret)) -}}
{{- fail (printf "events.log is %s, but no address is given: set events.url or events.existingSecret" $v.events.log) -}}
{{- end -}}
{{- if and $v.events.url $v.events.existingSecret -}}
{{- fail "events.url and events.existingSecret are both set: keep one" -}}
{{- end -}}
{{- if and (eq $v.events.log "embedded") (or $v.events.url $v.events.existingSecret) -}}
{{- fail "an address of a broker is given, but events.log is embedded: set it to nats or kafka" -}}
{{- end -}}
{{- if and $v.artifacts.s3.existingSecret (or $v.artifacts.s3.accessKeyId $v.artifacts.s3.secretAccessKey) -}}
{{- fail "artifacts.s3.existingSecret and its keys are both set: keep one" -}}
{{- end -}}
{{- if ne (empty $v.artifacts.s3.accessKeyId) (empty $v.artifacts.s3.secretAccessKey) -}}
{{- fail "artifacts.s3.accessKeyId and artifacts.s3.secretAccessKey go together: set both or neither" -}}
{{- end -}}
{{- if $many -}}
{{- if not $v.state.external -}}
{{- fail "more than one server needs a shared state: SQLite in the shop's folder has one writer. Set state.external=true with state.url or state.existingSecret, or replicas=1 and autoscaling.enabled=false" -}}
{{- end -}}
{{- if not $v.artifacts.url -}}
{{- fail "more than one server needs shared artifacts: set artifacts.url=s3://bucket/prefix, or replicas=1 and autoscaling.enabled=false" -}}
{{- end -}}
{{- if eq $v.events.log "embedded" -}}
{{- fail "more than one server needs a shared event log: the embedded log has one writer. Set events.log=nats or kafka, or replicas=1 and autoscaling.enabled=false" -}}
{{- end -}}
{{- if $v.persistence.enabled -}}
{{- fail "more than one server cannot share a shop's folder, whose online store has one writer: set persistence.enabled=false, so that each has a cache of its own" -}}
{{- end -}}
{{- end -}}
{{- if and (not $v.persistence.enabled) (not $v.persistence.acceptLoss) (not (and $v.state.external $v.artifacts.url (ne $v.events.log "embedded"))) -}}
{{- fail "persistence.enabled is false while state, artifacts or events lie in the shop's folder: a restart would lose them. Use a volume, or move all three out, or set persistence.acceptLoss=true to try it out" -}}
{{- end -}}
{{- if $v.worker.enabled -}}
{{- if not (and $v.state.external $v.artifacts.url) -}}
{{- fail "a worker and the servers meet in the state and in the artifacts: worker.enabled needs state.external=true and artifacts.url=s3://bucket/prefix" -}}
{{- end -}}
{{- if and (gt (int $v.worker.replicas) 1) (ne $v.worker.persistence.accessMode "ReadWriteMany") -}}
{{- fail "several workers share one folder: worker.persistence.accessMode must be ReadWriteMany, or worker.replicas=1" -}}
{{- end -}}
{{- end -}}
{{- if and $v.autoscaling.enabled (gt (int $v.autoscaling.minReplicas) (int $v.autoscaling.maxReplicas)) -}}
{{- fail (printf "autoscaling.minReplicas (%d) is above autoscaling.maxReplicas (%d)" (int $v.autoscaling.minReplicas) (int $v.autoscaling.maxReplicas)) -}}
{{- end -}}
{{- if and $v.networkPolicy.enabled (empty $v.networkPolicy.egress) (or $v.state.external $v.artifacts.url (ne $v.events.log "embedded")) -}}
{{- fail "networkPolicy.enabled would cut the servers from their database, store or broker: name them in networkPolicy.egress" -}}
{{- end -}}
{{- if and $v.ingress.enabled (empty $v.ingress.hosts) -}}
{{- fail "ingress.enabled needs ingress.hosts" -}}
{{- end -}}
{{- if and $v.metrics.enabled (eq (int $v.metrics.port) 8080) -}}
{{- fail "metrics.port must not be 8080, the port of the server" -}}
{{- end -}}
{{- $serve := get $v.settings "serve" | default dict -}}
{{- /* The settings' own defaults: docs/reference/settings.md. */ -}}
{{- $drain := add (int $v.preStopSleepSeconds) (get $serve "drain_notice_seconds" | default 2 | int) (get $serve "drain_seconds" | default 30 | int) -}}
{{- if le (int $v.terminationGracePeriodSeconds) (int $drain) -}}
{{- fail (printf "terminationGracePeriodSeconds (%d) would end the server while it drains: preStopSleepSeconds, settings.serve.drain_notice_seconds and drain_seconds are %d together" (int $v.terminationGracePeriodSeconds) (int $drain)) -}}
{{- end -}}
{{- end -}}
