#!/bin/sh
# Records documents.txt and cases.tsv anew. Needs a JDK and the packages named in README.md.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
classes=$(mktemp -d)
trap 'rm -rf "$classes"' EXIT
jars=${JARS:-/usr/share/java}
path=$classes
for jar in jaxen axiom-api axiom-impl woodstox-core stax2-api commons-logging; do
    path=$path:$jars/$jar.jar
done
javac -Xlint:-options -d "$classes" -cp "$path" "$here"/*.java
java -cp "$path" Record "${SEED:-20261125}" "${OUT:-$here}"
