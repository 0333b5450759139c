{{- define "stepmill.labels" -}}
app.kubernetes.io/name: stepmill
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "stepmill.selector" -}}
app.kubernetes.io/name: stepmill
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "stepmill.image" -}}
{{- $image := merge (dict) (default (dict) .own) .Values.image -}}
{{ $image.repository }}:{{ default .Chart.AppVersion $image.tag }}
{{- end }}

{{/* An environment variable from a text or a reference to a secret. */}}
{{- define "stepmill.address" -}}
- name: {{ .name }}
{{- if .secret.name }}
  valueFrom: { secretKeyRef: { name: {{ .secret.name }}, key: {{ .secret.key }} } }
{{- else }}
  value: {{ required (printf "%s: give an address or a secret with one" .what) .text | quote }}
{{- end }}
{{- end }}

{{- define "stepmill.security" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: { drop: [ALL] }
volumeMounts:
  - { name: tmp, mountPath: /tmp }
ports:
  - { name: http, containerPort: 8080 }
startupProbe:
  httpGet: { path: /live, port: http }
  periodSeconds: 1
  failureThreshold: 60
livenessProbe:
  httpGet: { path: /live, port: http }
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 3
readinessProbe:
  httpGet: { path: /ready, port: http }
  periodSeconds: 3
  timeoutSeconds: 5
  failureThreshold: 2
{{- end }}

{{- define "stepmill.pod" -}}
automountServiceAccountToken: false
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile: { type: RuntimeDefault }
volumes:
  - { name: tmp, emptyDir: {} }
{{- end }}
