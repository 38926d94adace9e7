//! The tool: simulated runs, scenarios, reports and the demo.

fn main() {}
