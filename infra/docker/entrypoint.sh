#!/bin/sh
# Kubernetes starts a Spark image as `driver …` or `executor`, and says the rest in variables; anything else is a command.
set -eu

# OpenShift and `docker --user` give ids that stand in no passwd; Java's login fails then. Their group is 0, which may write it.
passwd=${PASSWD_FILE:-/etc/passwd}
if ! grep -q "^[^:]*:[^:]*:$(id -u):" "$passwd" && [ -w "$passwd" ]; then
    [ -w "${HOME:-/}" ] || export HOME=/home/hrnn
    echo "user$(id -u):x:$(id -u):$(id -g)::$HOME:/bin/sh" >> "$passwd"
fi

case "${1:-}" in
driver)
    shift
    exec spark-submit --deploy-mode client \
        --conf "spark.driver.bindAddress=$SPARK_DRIVER_BIND_ADDRESS" \
        --conf "spark.executorEnv.SPARK_DRIVER_POD_IP=$SPARK_DRIVER_BIND_ADDRESS" "$@"
    ;;
executor)
    set --
    number=0
    while eval "[ -n \"\${SPARK_JAVA_OPT_$number:-}\" ]"; do # Java's options come numbered; a value may hold spaces
        eval "set -- \"\$@\" \"\$SPARK_JAVA_OPT_$number\""
        number=$((number + 1))
    done
    exec "$JAVA_HOME/bin/java" "$@" "-Xms$SPARK_EXECUTOR_MEMORY" "-Xmx$SPARK_EXECUTOR_MEMORY" \
        -cp "${SPARK_EXTRA_CLASSPATH:+$SPARK_EXTRA_CLASSPATH:}$SPARK_HOME/jars/*" \
        org.apache.spark.scheduler.cluster.k8s.KubernetesExecutorBackend \
        --driver-url "$SPARK_DRIVER_URL" \
        --executor-id "$SPARK_EXECUTOR_ID" \
        --cores "$SPARK_EXECUTOR_CORES" \
        --app-id "$SPARK_APPLICATION_ID" \
        --hostname "$SPARK_EXECUTOR_POD_IP" \
        --resourceProfileId "$SPARK_RESOURCE_PROFILE_ID" \
        --podName "$SPARK_EXECUTOR_POD_NAME"
    ;;
*)
    exec "$@"
    ;;
esac
