//! Hands libFuzzer's bytes to the target.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| streamkeeper_fuzz::simulated::scenario(data));

#[cfg(not(fuzzing))]
fn main() {}
