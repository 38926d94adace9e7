//! Hands what libFuzzer's bytes mean to the target.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|life: streamkeeper_fuzz::messages::Life| streamkeeper_fuzz::messages::live(&life));

#[cfg(not(fuzzing))]
fn main() {}
