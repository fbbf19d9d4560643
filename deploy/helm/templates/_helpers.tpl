{{- define "crossfade.labels" -}}
app.kubernetes.io/name: crossfade
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "crossfade.secret" -}}
{{ .Values.secret.name | default .Release.Name }}
{{- end }}
