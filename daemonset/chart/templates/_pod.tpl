{{- define "weft.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "weft.waypointImage" -}}
{{ .Values.image.repository }}-waypoint:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "weft.pullSecrets" -}}
{{- with .Values.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "weft.place" -}}
{{- if ne .Release.Namespace "weft-system" }}
{{- fail "weft is at home in the namespace weft-system: helm install … --namespace weft-system" }}
{{- end }}
{{- end }}
