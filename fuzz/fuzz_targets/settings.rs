//! Hands what libFuzzer's bytes mean to the target.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|knobs: streamkeeper_fuzz::settings::Knobs| streamkeeper_fuzz::settings::try_them(&knobs));

#[cfg(not(fuzzing))]
fn main() {}
