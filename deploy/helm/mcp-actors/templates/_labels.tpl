{{- define "mcp-actors.selector" -}}
app.kubernetes.io/name: mcp-actors
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "mcp-actors.labels" -}}
{{ include "mcp-actors.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end }}
