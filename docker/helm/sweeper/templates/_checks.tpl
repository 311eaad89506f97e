{{/* Everything that the schema cannot see: each fault, what is wrong and the way out, all at once. */}}
{{- define "sweeper.check" -}}
{{- $v := .Values -}}
{{- $faults := list -}}
{{- $name := .Release.Name -}}
{{- if or (gt (len $name) 40) (not (regexMatch "^[a-z][-a-z0-9]*$" $name)) -}}
{{- $faults = append $faults (printf "release name %q: KubeRay names pods after it; use at most 40 of a-z, 0-9 and -, beginning with a letter." $name) -}}
{{- end -}}

{{- $file := dict -}}
{{- if eq $v.mode "cluster" -}}
{{- if $v.sweep -}}
{{- $faults = append $faults "sweep: a cluster runs no sweep of its own. Leave it out and launch with `sweeper launch FILE --address http://HEAD:8265`, or write `mode: job`." -}}
{{- end -}}
{{- else if not $v.sweep -}}
{{- $faults = append $faults "sweep: empty. Add --set-file sweep=FILE, or write `mode: cluster`." -}}
{{- else -}}
{{- $file = fromYaml $v.sweep -}}
{{- if hasKey $file "Error" -}}
{{- $faults = append $faults (printf "sweep: not the text of a sweep file (%s). Add it by --set-file sweep=FILE, not by --set." $file.Error) -}}
{{- $file = dict -}}
{{- end -}}
{{- end -}}

{{- if not $v.checkpoints.store -}}
{{- $faults = append $faults "checkpoints.store: empty. Pods lose their disks, so checkpoints need a bucket: s3://BUCKET/PREFIX or gs://BUCKET/PREFIX." -}}
{{- end -}}

{{- if and $v.ledger.secretName $v.ledger.claimName -}}
{{- $faults = append $faults "ledger: has both secretName and claimName. Keep one: PostgreSQL, or an SQLite file on a volume." -}}
{{- else if not (or $v.ledger.secretName $v.ledger.claimName) -}}
{{- $faults = append $faults "ledger: a retried sweep needs a ledger that outlives its pods. Name a Secret with the `url` of PostgreSQL in ledger.secretName." -}}
{{- end -}}
{{- if and $v.ledger.claimName $v.workers -}}
{{- $faults = append $faults (printf "ledger.claimName: an SQLite file serves one node, and there are %d groups of workers. Write `workers: []`, or put the ledger into PostgreSQL by ledger.secretName." (len $v.workers)) -}}
{{- end -}}

{{- if and $v.mlflow.url $v.mlflow.enabled -}}
{{- $faults = append $faults "mlflow: has both url and enabled. Keep one." -}}
{{- else if not (or $v.mlflow.url $v.mlflow.enabled) -}}
{{- $faults = append $faults "mlflow: runs would be lost with the head's pod. Give the url of a tracking server, or write `enabled: true`." -}}
{{- end -}}

{{- if and $v.queue $v.autoscaling.enabled -}}
{{- $faults = append $faults (printf "queue: Kueue admits %q with a fixed number of nodes. Write `autoscaling: {enabled: false}`, or leave the queue out." $v.queue) -}}
{{- end -}}

{{- $names := list -}}
{{- $running := 0 -}}
{{- range $v.workers -}}
{{- $most := .maxReplicas | default .replicas | int -}}
{{- $running = add $running .replicas -}}
{{- if has .name $names -}}
{{- $faults = append $faults (printf "workers: two groups have the name %q." .name) -}}
{{- end -}}
{{- $names = append $names .name -}}
{{- if lt $most (int .replicas) -}}
{{- $faults = append $faults (printf "workers %q: maxReplicas is %d, less than the %d replicas of its start." .name $most (int .replicas)) -}}
{{- end -}}
{{- if and (not $v.autoscaling.enabled) (gt $most (int .replicas)) -}}
{{- $faults = append $faults (printf "workers %q: nothing starts more than its %d replicas without autoscaling. Write `maxReplicas: %d`, or leave it out." .name (int .replicas) (int .replicas)) -}}
{{- end -}}
{{- end -}}
{{- if and $v.workers (not $v.autoscaling.enabled) (eq (int $running) 0) -}}
{{- $faults = append $faults "workers: no group has a replica, and nothing starts one without autoscaling. Write `replicas: 1` for one of them." -}}
{{- end -}}

{{/* What a trial asks for is known where launch.sets says so, or a file that extends no other one:
the profiles of a base may change it. */}}
{{- $asked := dict -}}
{{- $layers := list -}}
{{- if not (hasKey $file "extends") -}}{{- $layers = append $layers $file -}}{{- end -}}
{{- with ternary dict (get $file "profiles") (hasKey $file "extends") -}}
{{- if kindIs "map" . -}}{{- $layers = append $layers (get . $v.launch.profile) -}}{{- end -}}
{{- end -}}
{{- range $layers -}}
{{- if kindIs "map" . -}}
{{- $resources := get . "resources" -}}
{{- if kindIs "map" $resources -}}{{- $asked = merge (deepCopy $resources) $asked -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- range $v.launch.sets -}}
{{- $pair := splitn "=" 2 . -}}
{{- if eq $pair._0 "resources" -}}{{- $asked = dict -}}{{- end -}}
{{- if hasPrefix "resources." $pair._0 -}}{{- $_ := set $asked (trimPrefix "resources." $pair._0) $pair._1 -}}{{- end -}}
{{- end -}}
{{- $nodes := $v.workers | default (list $v.head) -}}
{{- range $kind := list "gpu" "cpu" -}}
{{- if hasKey $asked $kind -}}
{{- $wanted := get $asked $kind -}}
{{- $most := 0.0 -}}
{{- range $nodes -}}{{- $most = maxf $most (float64 (index . (printf "%ss" $kind))) -}}{{- end -}}
{{- if gt (float64 $wanted) $most -}}
{{- $faults = append $faults (printf "resources.%s: a trial of this sweep asks for %v, and no node has more than %v. Raise `%ss` of a group, or add %q to launch.sets." $kind $wanted $most $kind (printf "resources.%s=%v" $kind $most)) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- if $faults -}}
{{- fail (printf "\n  %s\n" (join "\n  " $faults)) -}}
{{- end -}}
{{- end -}}
