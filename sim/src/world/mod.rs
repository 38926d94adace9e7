//! One run: a plan on a stage, recorded as facts and judged.
