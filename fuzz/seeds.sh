#!/bin/sh
# Fills corpus/ from what the tests know, so that fuzzing does not start from nothing.
set -eu
cd "$(dirname "$0")"
mkdir -p corpus/xml corpus/xpath corpus/jsonpath corpus/json_xml corpus/synapse
awk -F'\t' 'NR % 5 == 0 { f = "corpus/xpath/" NR; print $2 > f; close(f) }' ../tests/oracle/xpath/cases.tsv
awk '{ f = "corpus/xml/" NR; print substr($0, 2) > f; close(f); f = "corpus/json_xml/x" NR; print "\001" substr($0, 2) > f; close(f) }' \
    ../tests/oracle/xpath/documents.txt
grep -oh '<[a-z?!][^"]*>' ../src/xml/tests.rs | awk '{ f = "corpus/xml/t" NR; print > f; close(f) }'
grep -oh '"\$[^"]*"' ../src/expr/jsonpath/tests.rs | tr -d '"' | awk '{ f = "corpus/jsonpath/" NR; print > f; close(f) }'
grep -oh 'r#*"[{\[][^#]*"#' ../src/json/xml/tests.rs | sed 's/^r#"//; s/"#$//' |
    awk '{ f = "corpus/json_xml/" NR; print "\000" $0 > f; close(f) }'
grep -ohE '^ *\([0-9]+, r#"[^"]*"#, r#".*"#, r#"' ../src/expr/synapse/tests/tables.rs |
    sed -E 's/^ *\([0-9]+, r#"[^"]*"#, r#"//; s/"#, r#"$//' |
    awk '{ f = "corpus/synapse/" NR; print > f; close(f) }'
grep -ohE '"[^"]*"' ../src/expr/synapse/tests.rs | tr -d '"' | grep -E '^[a-z$(\[]' |
    awk '{ f = "corpus/synapse/t" NR; print > f; close(f) }'
