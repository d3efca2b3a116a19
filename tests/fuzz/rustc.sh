#!/bin/sh
# rustc for the fuzzer: coverage instrumentation for our crates and for parsers of outside input (not
# those that build scripts use too, which are not linked with libFuzzer). With everything instrumented,
# libFuzzer would spend its time looking at counters. These are the LLVM pass and options that fuzzers
# use elsewhere too; they need no unstable compiler.
case " $* " in
*" --crate-name "*) ;;
*) exec "$@" ;;
esac
name=${*##*--crate-name }
case ${name%% *} in
collector | shared | flowhook | fuzz | x509_parser | asn1_rs | der_parser | rhai)
    exec "$@" -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
        -Cllvm-args=-sanitizer-coverage-pc-table \
        -Cllvm-args=-sanitizer-coverage-trace-compares
    ;;
*) exec "$@" ;;
esac
