{{- define "postrider.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "postrider.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "postrider.labels" -}}
{{ include "postrider.selector" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "postrider.image" -}}
{{- if .Values.image.digest }}{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else }}{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}

{{/* The configuration file: `config`, and over it what the chart answers for. */}}
{{- define "postrider.config" -}}
{{- $tokens := list }}
{{- range .Values.tokens }}
{{- $file := printf "${file:/run/secrets/postrider/tokens/%s}" .key }}
{{- $token := dict "name" .name "token" $file "access" .access }}
{{- if .accounts }}{{ $_ := set $token "accounts" .accounts }}{{ end }}
{{- $tokens = append $tokens $token }}
{{- end }}
{{- $own := dict
  "kafka" (dict "brokers" .Values.kafka.brokers)
  "delivery" (dict "drain" (printf "%ds" (int .Values.drainSeconds)))
  "admin" (dict "listen" "0.0.0.0:8080" "tokens" $tokens) }}
{{- toYaml (mergeOverwrite (deepCopy .Values.config) $own) }}
{{- end }}
