//! The tool: simulated runs, scenarios, reports and the demo.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
