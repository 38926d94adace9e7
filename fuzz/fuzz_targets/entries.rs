//! Hands what libFuzzer's bytes mean to the target.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|life: streamkeeper_fuzz::entries::Life| streamkeeper_fuzz::entries::live(&life));

#[cfg(not(fuzzing))]
fn main() {}
