{{/* Labels of everything. KubeRay adds its own to pods, and keeps these. */}}
{{- define "sweeper.selector" -}}
app.kubernetes.io/name: sweeper
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "sweeper.labels" -}}
{{ include "sweeper.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* The label by which Kueue admits a RayJob or RayCluster. */}}
{{- define "sweeper.rayLabels" -}}
{{ include "sweeper.labels" . }}
{{- with .Values.queue }}
kueue.x-k8s.io/queue-name: {{ . }}
{{- end }}
{{- end -}}

{{- define "sweeper.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}

{{- define "sweeper.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "sweeper.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* Where the sweep file is: beside the bases of the shipped files, which it may extend. */}}
{{- define "sweeper.file" -}}
/usr/share/sweeper/search_spaces/sweep.yaml
{{- end -}}

{{- define "sweeper.mlflow" -}}
{{ .Values.mlflow.url | default (printf "http://%s-mlflow:5000" .Release.Name) }}
{{- end -}}

{{/* Options that `launch` and `validate` share. Ray's job server runs them by a shell. */}}
{{- define "sweeper.options" -}}
--profile {{ .Values.launch.profile }}
{{- with .Values.launch.trials }} --trials {{ int . }}{{ end }}
{{- range .Values.launch.sets }} --set '{{ . }}'{{ end }} --set 'checkpoints.store={{ .Values.checkpoints.store }}'
{{- end -}}

{{- define "sweeper.entrypoint" -}}
sweeper launch {{ include "sweeper.file" . }} --address auto {{ include "sweeper.options" . }}
{{- with .Values.launch.name }} --name {{ . }}{{ end }}
{{- end -}}

{{/* Variables of each node. */}}
{{- define "sweeper.env" -}}
- {name: HOME, value: /var/lib/sweeper}
- {name: SWEEPER_HOME, value: /var/lib/sweeper/home}
- {name: RAY_USAGE_STATS_ENABLED, value: "0"}
{{- range $name, $value := .Values.env }}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- end -}}

{{/* Variables of the head alone, where launches run: trials on workers see no password. */}}
{{- define "sweeper.headEnv" -}}
- {name: RAY_JOB_STOP_WAIT_TIME_S, value: "30"}   # for a launch that is stopped to save
- {name: SWEEPER_ADDRESS, value: auto}
- {name: SWEEPER_SWEEPS, value: /var/lib/sweeper/sweeps}
- {name: MLFLOW_TRACKING_URI, value: {{ include "sweeper.mlflow" . | quote }}}
{{- with .Values.ledger.secretName }}
- name: SWEEPER_STORAGE
  valueFrom: {secretKeyRef: {name: {{ . }}, key: url}}
- name: PGPASSWORD
  valueFrom: {secretKeyRef: {name: {{ . }}, key: password, optional: true}}
{{- end }}
{{- end -}}

{{/* Secrets whose keys are variables. Arguments: root, isHead. */}}
{{- define "sweeper.envFrom" -}}
{{- $v := .root.Values -}}
{{- $head := ternary (list $v.mlflow.secretName) list .isHead -}}
{{- with compact (concat (list $v.checkpoints.secretName) $v.envFromSecrets $head) -}}
envFrom:
  {{- range . }}
  - secretRef: {name: {{ . }}}
  {{- end }}
{{- end -}}
{{- end -}}

{{- define "sweeper.pullSecrets" -}}
{{- with .Values.image.pullSecrets -}}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end -}}
{{- end -}}

{{/* Requests equal limits: Ray places trials by the limits, and a pod that has less would be evicted. */}}
{{- define "sweeper.resources" -}}
{{- $all := dict "cpu" (toString .cpus) "memory" .memory -}}
{{- if .gpus -}}{{- $_ := set $all .gpuResource (toString .gpus) -}}{{- end -}}
{{ toYaml (dict "requests" $all "limits" $all) }}
{{- end -}}

{{/* The pod of a node. Arguments: root, node (its values), isHead. */}}
{{- define "sweeper.pod" -}}
{{- $root := .root -}}
{{- $v := $root.Values -}}
{{- $isJob := and .isHead (eq $v.mode "job") -}}
metadata:
  labels:
    {{- include "sweeper.labels" $root | nindent 4 }}
    app.kubernetes.io/component: {{ ternary "head" "worker" .isHead }}
  {{- if $isJob }}
  annotations: {checksum/sweep: {{ sha256sum $v.sweep }}}
  {{- end }}
spec:
  {{- with $v.serviceAccountName }}
  serviceAccountName: {{ . }}
  {{- end }}
  {{- /* The autoscaler, on the head, talks to the API server. */}}
  automountServiceAccountToken: {{ and .isHead (eq (include "sweeper.autoscales" $root) "true") }}
  enableServiceLinks: false
  restartPolicy: Never
  terminationGracePeriodSeconds: {{ int $v.graceSeconds }}
  {{- with $v.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- include "sweeper.pullSecrets" $root | nindent 2 }}
  {{- with .node.nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .node.tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext: {{- include "sweeper.podSecurity" $root | nindent 4 }}
  containers:
    - name: {{ ternary "ray-head" "ray-worker" .isHead }}
      image: {{ include "sweeper.image" $root }}
      imagePullPolicy: {{ $v.image.pullPolicy }}
      securityContext: {{- include "sweeper.containerSecurity" $root | nindent 8 }}
      env:
        {{- include "sweeper.env" $root | nindent 8 }}
        {{- if .isHead }}
        {{- include "sweeper.headEnv" $root | nindent 8 }}
        {{- else }}
        - {name: RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S, value: "{{ sub $v.graceSeconds 10 }}"}   # Ray drains the node
        {{- end }}
      {{- include "sweeper.envFrom" . | nindent 6 }}
      ports:
        - {name: metrics, containerPort: 8080}
        {{- if .isHead }}
        - {name: gcs-server, containerPort: 6379}
        - {name: dashboard, containerPort: 8265}
        - {name: client, containerPort: 10001}
        - {name: as-metrics, containerPort: 44217}
        - {name: dash-metrics, containerPort: 44227}
        {{- end }}
      resources: {{- include "sweeper.resources" .node | nindent 8 }}
      # By HTTP, which needs no token and no program in the image.
      livenessProbe:
        httpGet: {path: /api/local_raylet_healthz, port: 52365}
        initialDelaySeconds: 30
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 12
      readinessProbe:
        httpGet:
          path: {{ ternary "/api/gcs_healthz" "/api/local_raylet_healthz" .isHead }}
          port: {{ ternary 8265 52365 .isHead }}
        initialDelaySeconds: 5
        periodSeconds: 5
        timeoutSeconds: 5
        failureThreshold: 12
      volumeMounts:
        - {name: tmp, mountPath: /tmp}
        - {name: shared-memory, mountPath: /dev/shm}
        - {name: work, mountPath: /var/lib/sweeper}
        {{- if $v.home.claimName }}
        - {name: home, mountPath: /var/lib/sweeper/home}
        {{- end }}
        {{- if $isJob }}
        - {name: sweep, mountPath: {{ include "sweeper.file" $root }}, subPath: sweep.yaml, readOnly: true}
        {{- end }}
  volumes:
    - {name: tmp, emptyDir: {sizeLimit: {{ .node.scratch }}}}
    - {name: shared-memory, emptyDir: {medium: Memory, sizeLimit: {{ .node.sharedMemory }}}}
    {{- if and .isHead $v.ledger.claimName }}
    - {name: work, persistentVolumeClaim: {claimName: {{ $v.ledger.claimName }}}}
    {{- else }}
    - {name: work, emptyDir: {sizeLimit: {{ .node.scratch }}}}
    {{- end }}
    {{- with $v.home.claimName }}
    - {name: home, persistentVolumeClaim: {claimName: {{ . }}}}
    {{- end }}
    {{- if $isJob }}
    - {name: sweep, configMap: {name: {{ $root.Release.Name }}-sweep}}
    {{- end }}
{{- end -}}

{{- define "sweeper.autoscales" -}}
{{ and .Values.autoscaling.enabled (gt (len .Values.workers) 0) }}
{{- end -}}

{{/* The Ray cluster, of a RayJob or on its own. */}}
{{- define "sweeper.cluster" -}}
{{- $v := .Values -}}
{{- $autoscales := eq (include "sweeper.autoscales" .) "true" -}}
rayVersion: {{ $v.image.rayVersion | quote }}
authOptions:
  mode: token
  {{- with $v.auth.secretName }}
  secretName: {{ . }}
  {{- end }}
enableInTreeAutoscaling: {{ $autoscales }}
{{- if $autoscales }}
autoscalerOptions:
  version: v2
  idleTimeoutSeconds: {{ int $v.autoscaling.idleSeconds }}
  imagePullPolicy: {{ $v.image.pullPolicy }}
  securityContext: {{- include "sweeper.containerSecurity" . | nindent 4 }}
  env:
    - {name: HOME, value: /tmp}
  volumeMounts:
    - {name: tmp, mountPath: /tmp}
  resources:
    requests: {cpu: 500m, memory: 1Gi}
    limits: {cpu: 500m, memory: 1Gi}
{{- end }}
headGroupSpec:
  rayStartParams:
    dashboard-host: 0.0.0.0
    {{- if $v.workers }}
    num-cpus: "0"
    {{- end }}
  template: {{- include "sweeper.pod" (dict "root" . "node" $v.head "isHead" true) | nindent 4 }}
{{- with $v.workers }}
workerGroupSpecs:
  {{- range . }}
  - groupName: {{ .name }}
    replicas: {{ int .replicas }}
    minReplicas: {{ int .replicas }}
    maxReplicas: {{ .maxReplicas | default .replicas | int }}
    {{- if $autoscales }}
    idleTimeoutSeconds: {{ int $v.autoscaling.idleSeconds }}
    {{- end }}
    rayStartParams: {}
    template: {{- include "sweeper.pod" (dict "root" $ "node" . "isHead" false) | nindent 6 }}
  {{- end }}
{{- end }}
{{- end -}}
